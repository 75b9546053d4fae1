"""Write the submission of the C-NMC 2019 challenge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.result import AnyPath, FolderResult, Progress, as_paths, showing
from blastscope.errors import BlastscopeError
from blastscope.prediction.submission import Submission, submit_images, submit_table


@dataclass(frozen=True, eq=False, repr=False)
class SubmissionResult(FolderResult):
    """A submission: a 0 or 1 for each image, in numeric order.

    Attributes:
        made: the zip, and how many cells are called ALL.
    """

    made: Submission

    def to_frame(self) -> pl.DataFrame:
        """Return the predictions that it was made from."""
        from blastscope.io.predictions import read_predictions

        return read_predictions(self.made.predictions)[0]

    def as_json(self) -> dict[str, Any]:
        """Return the counts."""
        names = ("path", "model", "lines", "called_all", "already")
        return {name: getattr(self.made, name) for name in names} | {"path": str(self.made.path)}

    def answers(self) -> list[str]:
        """Say how many cells are called ALL."""
        made = self.made
        return [f"{made.model}: {made.called_all:,} of {made.lines:,} cells called ALL"]

    def notes(self) -> list[str]:
        """Say whether the same submission was there."""
        return ["The very same was there already."] if self.made.already else []


def submit(
    models: AnyPath | Iterable[AnyPath],
    images: AnyPath | None = None,
    *,
    out: AnyPath,
    device: str = "auto",
    force: bool = False,
    progress: Progress = False,
) -> SubmissionResult:
    """Write ``submission.zip`` for the C-NMC 2019 challenge: a 0 or 1 for each image.

    From runs and images it writes ``predictions.parquet`` as well, which ``evaluate`` judges with
    ``labels``.

    Args:
        models: a run, or several for their mean; or, without images, a prediction table.
        images: the folder of images 1.bmp, 2.bmp and so on.
        out: the folder to write to.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        force: replace another submission.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The zip, and how many cells are called ALL.

    Raises:
        BlastscopeError: if the images are not numbered from 1 on, the model cannot be opened, or
            another submission is there.
    """
    paths = as_paths(models)
    if images is None:
        if len(paths) != 1 or paths[0].is_dir():
            raise BlastscopeError(f"{paths[0]} has no images: give the folder of images behind it.")
        made = submit_table(paths[0], Path(out), force=force)
    else:
        with showing("Predicting", progress) as advance:
            made = submit_images(
                paths, Path(images), Path(out), device=device, force=force, on_progress=advance
            )
    return SubmissionResult(made, path=made.path)
