"""Predict any number of cells, and write the table in shards."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope import DISCLAIMER
from blastscope.api.predict import Models, model_paths
from blastscope.api.result import AnyPath, FolderResult, Progress, as_inputs, as_path, showing
from blastscope.cluster import RAY, check_engine, refuse_urls
from blastscope.io.predictions import SHARDS
from blastscope.io.remote import uploaded, url_of
from blastscope.prediction.shard_rows import ModelRequest
from blastscope.prediction.shards import Sharded
from blastscope.prediction.shards import predict_shards as predict_in_parts
from blastscope.report.generalization_text import SYNTHETIC
from blastscope.report.predictions_text import altered_text


@dataclass(frozen=True, eq=False, repr=False)
class ShardsResult(FolderResult):
    """Predictions in a folder of Parquet shards, each a prediction table (docs/formats.md).

    Attributes:
        found: how many shards and cells there are, and what was said of them.
    """

    found: Sharded

    def to_frame(self) -> pl.DataFrame:
        """Return the counts; the cells are in the shards, which ``polars.scan_parquet`` reads."""
        return pl.DataFrame([{"shards": self.found.shards, **asdict(self.found.counts)}])

    def as_json(self) -> dict[str, Any]:
        """Return the counts."""
        return {"path": self.written_to, **self.to_frame().row(0, named=True)}

    def answers(self) -> list[str]:
        """Say how many cells were predicted."""
        counts, shards = self.found.counts, self.found.shards
        said = f"{counts.cells:,} images in {shards:,} shard{'s' * (shards > 1)}"
        for count, what in (
            (counts.called_all, "called ALL"),
            (counts.called_hem, "called normal"),
            (counts.referred, "referred"),
            (counts.out_of_distribution, "out of distribution"),
            (counts.unusable, "not usable"),
        ):
            said += f", {count:,} {what}" if count else ""
        return [f"{said}."]

    def notes(self) -> list[str]:
        """Say what was gone on with, and how the images were found."""
        said = [f"{text}." for text in self.found.notes]
        if self.found.resumed:
            said.insert(0, f"Went on after {self.found.resumed:,} shards of an earlier call.")
        said += altered_text(self.found.counts.altered)
        return [*said, *[SYNTHETIC] * self.found.synthetic, DISCLAIMER]


def predict_shards(
    images: AnyPath | Sequence[AnyPath],
    model: Models = None,
    *,
    out: AnyPath,
    shard_cells: int = 10_000,
    decision: AnyPath | None = None,
    engine: str = "auto",
    device: str = "auto",
    spread: bool = False,
    subject_from: str | None = None,
    progress: Progress = False,
) -> ShardsResult:
    """Predict any number of cells in flat memory, and write the table in shards.

    Each input path is listed when its turn comes, so that memory does not grow with the number of
    tars, zips or folders. If it is interrupted, the same call goes on after the shards that are
    written.

    Args:
        images, model, decision, engine, device, spread, subject_from: as :func:`predict` takes
            them, but for images in memory. The names of cells are unique within each input path and
            each shard.
        out: the folder for the shards, which can be given to every verb that takes a table.
        shard_cells: how many cells a shard has.
        progress: show a progress bar; or a function to call with how much is done.

    Returns:
        The folder, and how many cells were called what.

    Raises:
        BlastscopeError: if the model or an input cannot be opened, an input is given twice, not one
            image can be used, or the folder is another's, its inputs have changed, or it cannot be
            written.
    """
    inputs, url = as_inputs(images), url_of(out)
    if engine == RAY:
        check_engine(RAY)
        refuse_urls(RAY, inputs)
    request = ModelRequest(tuple(model_paths(model)), as_path(decision), engine, device, spread)
    place = uploaded(url, SHARDS) if url else nullcontext(Path(out))
    with place as folder, showing("Predicting", progress) as advance:
        found = predict_in_parts(
            inputs,
            request,
            folder,
            shard_cells,
            subject_from=subject_from,
            on_progress=advance,
        )
    return ShardsResult(found, path=None if url else Path(out), url=url)
