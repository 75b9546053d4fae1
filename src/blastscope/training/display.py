"""Show a training while it runs: a bar with loss and rate, and a line for each epoch."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from blastscope.training.trainer import TrainingWatch


class TrainingDisplay:
    """A progress bar on a terminal, and one line for each epoch anywhere, on standard error."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.console = Console(
            stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False
        )
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),  # a recipe's name may be cnn[/b]
            BarColumn(),
            TextColumn("{task.completed}/{task.total} batches"),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.task = self.bar.add_task(name, total=None, state="")
        self._done = self._epochs = self._batches = self._cells = 0
        self._began = 0.0

    def __enter__(self) -> TrainingDisplay:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def watch(self, tensorboard: bool = False) -> TrainingWatch:
        """Return what ``train`` needs so that this display shows its progress."""
        return TrainingWatch(tensorboard, self.features, self.begin, self.batch, self.epoch)

    def features(self, done: int, total: int) -> None:
        """Show how many features of the frozen backbone are computed; print a line at the end."""
        if not self._cells:
            self._began = time.perf_counter()
        self._cells += 1
        self.bar.update(
            self.task, completed=done, total=total, description=f"{self.name}, features"
        )
        if done == total:
            took = time.perf_counter() - self._began
            self.console.print(
                f"{self.name}: features of the frozen backbone for {total:,} views, {took:.0f} s"
            )

    def begin(self, done: int, batches: int, epochs: int) -> None:
        """Say how many epochs an earlier, interrupted run had done, and start the bar."""
        self._done, self._batches, self._epochs = done, batches, epochs
        if done:
            self.console.print(f"{self.name}: resumes after epoch {done}")
        self._new_epoch()

    def batch(self, cells: int, loss: float) -> None:
        """Advance by a batch."""
        self._cells += cells
        rate = self._cells / max(time.perf_counter() - self._began, 1e-9)
        self.bar.update(self.task, advance=1, state=f"loss {loss:.4f}, {rate:.0f} cells/s")

    def epoch(self, row: dict[str, float]) -> None:
        """Print the line of an epoch."""
        metrics = "  ".join(
            f"{name.replace('_', ' ')} {row[name]:.4f}"
            for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
        )
        rate = self._cells / max(row["seconds"], 1e-9)
        self.console.print(
            f"epoch {row['epoch']:.0f} of at most {self._epochs}  {metrics}  {rate:.0f} cells/s"
        )
        self._done = int(row["epoch"])
        if self._done < self._epochs:  # after the last the bar stays full
            self._new_epoch()

    def _new_epoch(self) -> None:
        self._cells, self._began = 0, time.perf_counter()
        what = f"{self.name}, epoch {self._done + 1}"
        self.bar.reset(self.task, total=self._batches, description=what, state="")
