"""The loop itself: Lightning's trainer, early stopping, and where to go on after a kill."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping

from blastscope.errors import BlastscopeError
from blastscope.models.classifier import Classifier
from blastscope.recipes.schema import Recipe
from blastscope.training.augmentation import pixel_augmentation
from blastscope.training.batches import PlainBatches, TrainingBatches
from blastscope.training.callbacks import Record, ResumeState
from blastscope.training.dataset import TrainingData
from blastscope.training.devices import lightning_device, lightning_precision
from blastscope.training.lightning_module import LightningClassifier
from blastscope.training.network_input import NetworkInput
from blastscope.training.run_folder import RunFolder


@dataclass(frozen=True)
class TrainingWatch:
    """Who is told how a training goes."""

    tensorboard: bool = False
    """Whether TensorBoard events are written into the run as well."""
    on_features: Callable[[int, int], None] | None = None
    """Called while a frozen part's features are computed, with the views done and their total."""
    on_begin: Callable[[int, int, int], None] | None = None
    """Called with the epochs that are done, the batches of one epoch, and the most epochs."""
    on_batch: Callable[[int, float], None] | None = None
    """Called after each batch with its cells and its loss."""
    on_epoch: Callable[[dict[str, float]], None] | None = None
    """Called after each epoch with its row of the history."""


def train_network(
    classifier: Classifier,
    feed: NetworkInput,
    recipe: Recipe,
    inputs: TrainingData,
    folder: RunFolder,
    device: torch.device,
    watch: TrainingWatch,
) -> Record:
    """Train until validation loss has not fallen for ``patience`` epochs, or epochs run out.

    Returns:
        The history and the weights of the best epoch.
    """
    settings = recipe.training
    record = Record(folder.history, watch.on_epoch)
    resume = _resumable(folder, record)
    if record.finished(settings.epochs, settings.patience):
        return record
    module = _module(classifier, feed, recipe, inputs)
    if watch.on_begin:
        batches = len(module.train_dataloader())  # type: ignore[arg-type]
        watch.on_begin(len(record.history), batches, settings.epochs)
    stop = EarlyStopping("val_loss", patience=settings.patience, mode="min")
    callbacks: list[lightning.Callback] = [stop, record, ResumeState(folder.resume)]
    if watch.on_batch:
        callbacks.insert(0, _Batches(watch.on_batch))
    with _as_before():
        trainer = lightning.Trainer(
            **lightning_device(device),
            precision=lightning_precision(settings.precision, device),
            max_epochs=settings.epochs,
            deterministic=settings.deterministic,
            callbacks=callbacks,
            logger=_logger(folder) if watch.tensorboard else False,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        _run(trainer, module, resume)
    return record


@contextmanager
def _as_before() -> Iterator[None]:
    """Silence Lightning's advice on loaders and loggers, and restore what its trainer sets."""
    logger = logging.getLogger("lightning.pytorch")
    level, deterministic = logger.level, torch.are_deterministic_algorithms_enabled()
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
        torch.use_deterministic_algorithms(deterministic)


def _run(trainer: lightning.Trainer, module: LightningClassifier, resume: Any) -> None:
    """Fit; an interrupt stays one (Lightning makes it an exit and turns the signal off)."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    except SystemExit:
        if not trainer.interrupted:
            raise
    if trainer.interrupted:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt


def _module(
    classifier: Classifier, feed: NetworkInput, recipe: Recipe, inputs: TrainingData
) -> LightningClassifier:
    settings, is_all, chosen = recipe.training, inputs.is_all, inputs.training
    augment = pixel_augmentation(settings.augmentation)

    def batches(epoch: int) -> TrainingBatches:
        return TrainingBatches(
            feed.views,
            is_all,
            chosen,
            settings.batch,
            settings.augmentation == "dihedral",
            augment,
            settings.seed,
            epoch,
        )

    validation = PlainBatches(feed.views, is_all, inputs.rows["validation"], settings.batch)
    return LightningClassifier(classifier, feed, recipe, chosen.class_weights, batches, validation)


def load_state(classifier: Classifier, path: Path) -> None:
    """Fill a network with the weights that an interrupted run had after its last whole epoch.

    Raises:
        BlastscopeError: if the file is damaged.
    """
    state = _read_state(path)["state_dict"]
    own = "classifier."
    weights = {key.removeprefix(own): state[key] for key in state if key.startswith(own)}
    try:
        classifier.load_state_dict(weights)
    except RuntimeError as error:
        raise _damaged(path) from error


def _resumable(folder: RunFolder, record: Record) -> Any:
    """Load the record of an interrupted run; return the path of its state, if there is one."""
    if not folder.resume.is_file():
        return None
    state = _read_state(folder.resume)
    try:
        record.load_state_dict(state["callbacks"][record.state_key])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder.resume) from error
    return folder.resume


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return {"state_dict": state["state_dict"], "callbacks": state["callbacks"]}
    except Exception as error:  # a damaged file may fail in any way
        raise _damaged(path) from error


def _damaged(path: Path) -> BlastscopeError:
    return BlastscopeError(f"{path} cannot be read: remove it, and the run begins anew.")


def _logger(folder: RunFolder) -> Any:
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(folder.path, name="tensorboard", version="")
    except ModuleNotFoundError as error:
        raise BlastscopeError(
            "TensorBoard is not installed: pip install 'blastscope[tensorboard]', or leave out "
            "--tensorboard."
        ) from error


class _Batches(lightning.Callback):
    """Tells a progress bar of every batch."""

    def __init__(self, on_batch: Callable[[int, float], None]) -> None:
        self.on_batch = on_batch

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Pass on how many cells the batch had, and its loss."""
        self.on_batch(len(batch[1]), float(outputs["loss"]))
