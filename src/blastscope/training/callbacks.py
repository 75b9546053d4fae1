"""What happens at the end of every epoch: history, the best weights, a state to resume from."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint

from blastscope.io.files import replacing, write_text
from blastscope.training.lightning_module import LightningClassifier

COLUMNS = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "rate", "seconds")
FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


class Record(lightning.Callback):
    """Keeps the history and the weights of the epoch with the lowest validation loss.

    Both are part of the resume state, one file: best weights and history can never disagree.
    """

    def __init__(self, path: Path, on_epoch: Callable[[dict[str, float]], None] | None) -> None:
        self.path = path
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
        """Start the epoch's clock and figures."""
        self._began = time.perf_counter()
        module.reset_figures()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Add the epoch to the history, and keep its weights if they are the best so far."""
        assert isinstance(module, LightningClassifier)
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1}
        row |= {name: module.figure(name) for name in FIGURES}
        row["rate"] = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        row["seconds"] = round(time.perf_counter() - self._began, 3)
        self.history.append(row)
        if self.best is row:
            weights = module.classifier.state_dict()
            self.best_weights = {
                key: value.detach().cpu().clone() for key, value in weights.items()
            }
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


class ResumeState(Checkpoint):
    """Writes the whole state after each epoch, whole or not at all.

    It is one of Lightning's checkpoint callbacks because those come last: early stopping, which
    comes after plain callbacks, must have counted the epoch when its state is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Write weights, optimiser, loops and callbacks."""
        with replacing(self.path) as beside:
            trainer.save_checkpoint(beside)


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write the history as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())
