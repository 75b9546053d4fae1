"""Train a run again, deterministically, and compare what comes out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.data.names import ALL
from blastscope.errors import BlastscopeError
from blastscope.evaluation.metrics import compute_metrics
from blastscope.io.files import read_json, sha256_of
from blastscope.io.predictions import read_predictions
from blastscope.recipes.library import read_recipe
from blastscope.recipes.schema import AVERAGED
from blastscope.reproduction.verification import RUN, InputPaths
from blastscope.training.finished_run import SAME


@dataclass(frozen=True)
class Rerun:
    """How a second training differs from the first.

    Attributes:
        part: the split part that the metrics are of.
        cells: how many cells were compared.
        largest: the largest absolute difference of a probability of ALL.
        cell: the cell that has it.
        same_weights: whether the weights are the same bytes.
        metrics: by name, the recorded value and that of the second training.
    """

    part: str
    cells: int
    largest: float
    cell: str
    same_weights: bool
    metrics: Mapping[str, tuple[float | None, float | None]]

    @property
    def equal(self) -> bool:
        """Whether all probabilities and metrics are equal, to the last bit."""
        return self.largest == 0 and all(first == again for first, again in self.metrics.values())

    @property
    def fails(self) -> bool:
        """Whether a probability differs by more than machines do."""
        return self.largest > SAME


def train_again(run: Path, inputs: InputPaths, device: str = "auto") -> Rerun:
    """Train a run again in a temporary folder, with deterministic kernels and as many threads.

    Raises:
        BlastscopeError: if its inputs are not where it recorded them, or it cannot be trained here.
    """
    from blastscope.training.train import train

    if not (run / RUN).is_file() or not (run / "predictions.parquet").is_file():
        raise BlastscopeError(
            f"{run} is not a finished run, which alone can be trained again: give one of its runs."
        )
    about, paths = read_json(run / RUN), {}
    for name in ("store", "split"):
        path = inputs.at(name, about)
        if path is None or not path.exists():
            told = f" at {path}" if path is not None else ""
            raise BlastscopeError(
                f"The {name} of {run} was not found{told}: give it with --{name}."
            )
        paths[name] = path
    recorded = about.get("inputs") or {}
    recipe = read_recipe(run / "recipe.yaml")
    settings = recipe.training.model_copy(update={"deterministic": True})
    recipe = recipe.model_copy(update={"training": settings})
    with tempfile.TemporaryDirectory(prefix="blastscope-") as folder, _threads(about):
        again = Path(folder) / "run"
        train(
            recipe, paths["store"], paths["split"], again, device=device,
            weights_dir=inputs.at("weights_dir", about),
            start=None if recipe.model.weights == AVERAGED else inputs.at("start", about),
            teachers=tuple(map(Path, recorded.get("teachers") or ())),
            pseudo_labels=tuple(map(Path, recorded.get("pseudo_labels") or ())),
            average=tuple(map(Path, recorded.get("average") or ())),
            keep_features=recorded.get("keep_features", True),
        )  # fmt: skip
        return _compared(run, again)


@contextmanager
def _threads(about: Mapping[str, Any]) -> Iterator[None]:
    """Compute with the recorded number of threads: sums depend on it."""
    import torch

    before, wanted = torch.get_num_threads(), about.get("threads")
    try:
        if isinstance(wanted, int) and wanted > 0:
            torch.set_num_threads(wanted)
        yield
    finally:
        torch.set_num_threads(before)


def _compared(run: Path, again: Path) -> Rerun:
    first, second = (read_predictions(path / "predictions.parquet")[0] for path in (run, again))
    both = first.join(second.select("cell", again="p_all"), on="cell", how="inner")
    if both.height != first.height or first.height != second.height:
        raise BlastscopeError(
            f"{run} has predictions of other cells than its split: verify its files first."
        )
    apart = both.with_columns(apart=(pl.col("p_all") - pl.col("again")).abs())
    most = apart.sort("apart", "cell", descending=[True, False]).row(0, named=True)
    part = "test" if (both["part"] == "test").any() else "validation"
    told = both.filter(pl.col("part") == part)
    recorded, found = _metrics(told, "p_all"), _metrics(told, "again")
    metrics = {name: (value, found[name]) for name, value in recorded.items()}
    weights = [sha256_of(path / "checkpoint.safetensors") for path in (run, again)]
    return Rerun(
        part,
        both.height,
        float(most["apart"]),
        str(most["cell"]),
        weights[0] == weights[1],
        metrics,
    )


def _metrics(rows: pl.DataFrame, column: str) -> Mapping[str, float | None]:
    is_all = (rows["label"] == ALL).to_numpy()
    return dict(compute_metrics(is_all, rows[column].to_numpy(), rows["subject"].to_list()))
