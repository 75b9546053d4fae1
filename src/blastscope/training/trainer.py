"""Lightning's trainer with early stopping, history, the best weights, and resuming after a kill."""

from __future__ import annotations

import csv
import io
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, LambdaCallback
from lightning.pytorch.strategies import DDPStrategy
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError
from blastscope.io.files import replacing, write_text
from blastscope.models.classifier import Classifier
from blastscope.process import quiet
from blastscope.recipes.schema import AVERAGED, Recipe
from blastscope.training.batches import PlainBatches, TrainingBatches
from blastscope.training.dataset import TrainingData, subject_batches
from blastscope.training.devices import ALONE, Rank
from blastscope.training.lightning_module import LightningClassifier
from blastscope.training.network_input import NetworkInput
from blastscope.training.run_folder import RunFolder
from blastscope.training.stain_augmentation import augmentation_for
from blastscope.training.teacher_networks import TeacherNetworks
from blastscope.training.weight_averaging import WeightAverage, estimate_statistics


@dataclass(frozen=True)
class TrainingWatch:
    """Who is told how a training goes."""

    tensorboard: bool = False  # whether TensorBoard events are written into the run as well
    # Called while a frozen part's features are computed, with the views done and their total.
    on_features: Callable[[int, int], None] | None = None
    # Called with the epochs that are done, the batches of one epoch, and the most epochs.
    on_begin: Callable[[int, int, int], None] | None = None
    # Called after each batch with its cells and its loss.
    on_batch: Callable[[int, float], None] | None = None
    # Called after each epoch with its row of the history.
    on_epoch: Callable[[dict[str, float]], None] | None = None
    # Called after each epoch with its number, from 1, and the probability of ALL for each cell of
    # the validation part, in the order of the store's rows. What it raises ends the training.
    on_validation: Callable[[int, NDArray[np.float64]], None] | None = None


def train_network(
    classifier: Classifier,
    network_input: NetworkInput,
    recipe: Recipe,
    inputs: TrainingData,
    folder: RunFolder,
    device: torch.device,
    watch: TrainingWatch,
    rank: Rank = ALONE,
    teachers: TeacherNetworks | None = None,
) -> Record:
    """Train until validation loss has not fallen for ``patience`` epochs, or epochs run out.

    With ``average_from`` all epochs are run; a mean of runs is not trained. Of several ranks the
    first one writes.

    Returns:
        The history, and the weights of the best epoch or, in the first rank, the mean of several;
        no weights if the training diverged.

    Raises:
        BlastscopeError: if the validation part is too small, or the recipe cannot be trained, on so
            many devices; or the state of an interrupted run is damaged.
    """
    _refuse_for_ranks(rank, recipe, inputs)
    if recipe.model.weights == AVERAGED:
        return _of_the_mean(classifier, network_input, recipe, inputs, device)
    settings = recipe.training
    record = Record(folder.history if rank.first else None, watch.on_epoch)
    average = WeightAverage(settings.average_from) if settings.average_from else None
    kept: list[lightning.Callback] = [record, *([average] if average else [])]
    resume = _resumable(folder, kept)
    module = _module(classifier, network_input, recipe, inputs, rank, teachers)
    patience = settings.epochs if average else settings.patience
    if not record.finished(settings.epochs, patience):
        _fit(module, kept, folder, device, watch, resume)
    if average and rank.first:
        record.best_weights = average.weights(module, device) if average.finite else {}
    return record


def _of_the_mean(
    classifier: Classifier,
    network_input: NetworkInput,
    recipe: Recipe,
    inputs: TrainingData,
    device: torch.device,
) -> Record:
    """Compute anew the batch normalization statistics of averaged weights; nothing is trained."""
    estimate_statistics(_module(classifier, network_input, recipe, inputs, ALONE), device)
    record = Record(None, None)
    weights = classifier.state_dict()
    record.best_weights = {name: one.detach().cpu().clone() for name, one in weights.items()}
    return record


def _fit(
    module: LightningClassifier,
    kept: list[lightning.Callback],
    folder: RunFolder,
    device: torch.device,
    watch: TrainingWatch,
    resume: Path | None,
) -> None:
    """Train all epochs that are left, with callbacks whose state is kept."""
    settings = module.recipe.training
    (record,) = (one for one in kept if isinstance(one, Record))
    if watch.on_begin:
        batches = len(module.train_dataloader())  # type: ignore[arg-type]
        watch.on_begin(len(record.history), batches, settings.epochs)
    callbacks: list[lightning.Callback] = [*kept, ResumeState(folder.resume)]
    if not settings.average_from:
        callbacks.insert(0, EarlyStopping("val_loss", patience=settings.patience, mode="min"))
    if watch.on_validation:
        callbacks.insert(0, ValidationScores(watch.on_validation))
    if watch.on_batch:
        tell = partial(_tell, watch.on_batch, module.rank.count)
        callbacks.insert(0, LambdaCallback(on_train_batch_end=tell))
    with _as_before():
        trainer = lightning.Trainer(
            accelerator="gpu" if device.type == "cuda" else device.type,
            **_devices(module.rank),
            precision=_precision(settings.precision, device),
            max_epochs=settings.epochs,
            deterministic=settings.deterministic,
            callbacks=callbacks,
            logger=_logger(folder) if watch.tensorboard and module.rank.first else False,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        _run(trainer, module, resume)


def _devices(rank: Rank) -> dict[str, Any]:
    """Return what tells Lightning's trainer which processes train together."""
    if rank.count == 1:
        return {"devices": 1}
    # Buffers are the same in all ranks (``shared_statistics``), so that nothing has to be sent
    # before a batch; ranks may then have different numbers of validation batches.
    strategy = DDPStrategy(
        cluster_environment=LightningEnvironment(),
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
    )
    return {
        "devices": rank.count // rank.nodes,
        "num_nodes": rank.nodes,
        "strategy": strategy,
        "use_distributed_sampler": False,
    }


def _refuse_for_ranks(rank: Rank, recipe: Recipe, inputs: TrainingData) -> None:
    if rank.count == 1:
        return
    if recipe.training.heterogeneity is not None:
        raise BlastscopeError(
            f"{recipe.name} compares the subjects of a whole batch (training.heterogeneity): train "
            "it on one device."
        )
    cells = len(inputs.rows["validation"])
    if cells < rank.count:
        raise BlastscopeError(
            f"{cells} validation cells cannot be shared by {rank.count} devices: give fewer "
            "devices, or split the store again."
        )


def _precision(setting: str, device: torch.device) -> Any:
    """Return Lightning's name of a recipe's precision.

    ``auto`` is bfloat16 if the device computes it fast (a CPU without its own unit for it is slower
    than in single precision).
    """
    mixed = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if setting == "bf16" or (setting == "auto" and mixed) else "32-true"


@contextmanager
def _as_before() -> Iterator[None]:
    """Silence Lightning's advice on loaders and loggers, and restore what its trainer sets."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        with quiet("lightning.pytorch", module="lightning"):
            yield
    finally:
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
    classifier: Classifier,
    network_input: NetworkInput,
    recipe: Recipe,
    inputs: TrainingData,
    rank: Rank = ALONE,
    teachers: TeacherNetworks | None = None,
) -> LightningClassifier:
    settings, is_all, chosen = recipe.training, inputs.is_all, inputs.training
    augment = augmentation_for(settings.augmentation, inputs)
    views = network_input.views
    targets = is_all.astype(np.float32) if inputs.targets is None else inputs.targets
    source = (views, targets, chosen, settings.batch, settings.dihedral, augment, settings.seed)
    subjects = subject_batches(inputs, settings.heterogeneity) if settings.heterogeneity else None
    batches = partial(TrainingBatches, *source, mixup=settings.mixup, subjects=subjects)
    rows = rank.share(inputs.rows["validation"])
    validation = PlainBatches(views, is_all, rows, settings.batch)
    return LightningClassifier(
        classifier, network_input, recipe, chosen.class_weights, batches, validation, rank, teachers
    )


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


def _resumable(folder: RunFolder, kept: list[lightning.Callback]) -> Path | None:
    """Load what an interrupted run kept; return the path of its state, if there is one."""
    if not folder.resume.is_file():
        return None
    state = _read_state(folder.resume)
    try:
        for callback in kept:
            callback.load_state_dict(state["callbacks"][callback.state_key])
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


def _tell(
    on_batch: Callable[[int, float], None],
    ranks: int,
    _t: Any,
    _m: Any,
    outputs: Any,
    batch: Any,
    _k: int,
) -> None:
    on_batch(len(batch[1]) * ranks, float(outputs["loss"]))


METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
COLUMNS = ("epoch", *METRICS, "rate", "seconds")


class Record(lightning.Callback):
    """Keeps the history and the weights of the epoch with the lowest validation loss.

    Both are part of the resume state, one file: best weights and history can never disagree.
    """

    def __init__(
        self, path: Path | None, on_epoch: Callable[[dict[str, float]], None] | None
    ) -> None:
        self.path = path  # where the history is written; None if another rank does it
        self.on_epoch = on_epoch
        self.history: list[dict[str, float]] = []
        self.best_weights: dict[str, torch.Tensor] = {}
        self._began = 0.0

    @property
    def best(self) -> dict[str, float] | None:
        """The history's row with the lowest validation loss; the first of equals."""
        rows = [row for row in self.history if row["val_loss"] == row["val_loss"]]
        return min(rows, key=lambda row: row["val_loss"], default=None)

    def finished(self, epochs: int, patience: int) -> bool:
        """Whether the history is that of a training that has come to its end."""
        best = self.best
        waited = len(self.history) - int(best["epoch"]) if best else 0
        return len(self.history) >= epochs or waited >= patience

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Start the epoch's clock and metrics."""
        self._began = time.perf_counter()
        module.reset_metrics()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Add the epoch to the history, and keep its weights if they are the best so far."""
        assert isinstance(module, LightningClassifier)
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1}
        row |= {name: module.metric(name) for name in METRICS}
        row["rate"] = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        row["seconds"] = round(time.perf_counter() - self._began, 3)
        self.history.append(row)
        if self.best is row:
            weights = module.classifier.state_dict()
            self.best_weights = {
                key: value.detach().cpu().clone() for key, value in weights.items()
            }
        if self.path is not None:
            write_history(self.path, self.history)
        if trainer.logger:
            trainer.logger.log_metrics(row, step=int(row["epoch"]))
        if self.on_epoch:
            self.on_epoch(row)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"history": self.history, "best_weights": self.best_weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where an interrupted run left off."""
        self.history = list(state_dict["history"])
        self.best_weights = dict(state_dict["best_weights"])


class ValidationScores(lightning.Callback):
    """Tells the probabilities of the validation part after each epoch."""

    def __init__(self, told: Callable[[int, NDArray[np.float64]], None]) -> None:
        self._told = told
        self._logits: list[torch.Tensor] = []

    def on_validation_epoch_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Forget the last epoch's."""
        self._logits = []

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int, _: int = 0
    ) -> None:
        """Keep the logits of a batch."""
        self._logits.append(outputs.detach().double().cpu())

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Tell the epoch's."""
        p_all = torch.sigmoid(torch.cat(self._logits)).numpy()
        self._told(trainer.current_epoch + 1, p_all)


class ResumeState(Checkpoint):
    """Writes the whole state after each epoch, whole or not at all.

    It is one of Lightning's checkpoint callbacks because those come last: early stopping, which
    comes after plain callbacks, must have counted the epoch when its state is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Write weights, optimiser, loops and callbacks."""
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.path)  # takes part, and writes nothing
            return
        with replacing(self.path) as beside:
            trainer.save_checkpoint(beside)


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write the history as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())
