"""Measure leakage: how much better a network does on cells of subjects that it was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError
from blastscope.evaluation.bootstrap import SamplingUnits, resampling
from blastscope.evaluation.confidence_intervals import Estimate, draw
from blastscope.evaluation.spread import Spread
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics
from blastscope.io.files import read_json, refuse_other_version, without_nan
from blastscope.io.json_objects import NumberOrNull, read_as
from blastscope.io.predictions import read_predictions
from blastscope.io.workfolder import first_difference

FORMAT = "blastscope-leakage/2"
MEASURED = ("weighted_f1", "auc", "recall_all", "recall_hem")


@dataclass(frozen=True)
class LeakageGain:
    """One metric on the same cells, with their subjects known to the network and unseen by it.

    Attributes:
        known: if other cells of the same subject were in training.
        unseen: if none were.
        difference: the first minus the second; the interval is paired.
        repeats: the difference in each repeat, each with folds and trainings of its own.
    """

    known: Estimate
    unseen: Estimate
    difference: Estimate
    repeats: tuple[NumberOrNull, ...]

    @property
    def spread(self) -> Spread | None:
        """The spread of the difference over the repeats; None if it is undefined in one."""
        return None if any(map(math.isnan, self.repeats)) else Spread.of(self.repeats)


@dataclass(frozen=True)
class Leakage:
    """The outcome of a measurement of leakage.

    Attributes:
        gains: by metric (``MEASURED``).
        settings: of the recipe, without its seed; None if the tables do not say.
    """

    gains: dict[str, LeakageGain]
    cells: int
    subjects: int
    sampling: SamplingUnits
    synthetic: bool
    settings: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The content of ``leakage.json``; null for what is undefined."""
        clean: dict[str, Any] = without_nan({"format": FORMAT, **asdict(self)})
        return clean


def read_leakage(path: Path) -> tuple[str, Leakage]:
    """Read a ``leakage.json``, and the recipe it is of.

    Raises:
        BlastscopeError: if the file is missing, damaged or of another kind.
    """
    content = read_json(path)
    return str(content.get("recipe")), leakage_from(content, path)


def leakage_from(content: Any, where: Path) -> Leakage:
    """Read what :meth:`Leakage.as_json` made."""
    refuse_other_version(content, FORMAT, where, "blastscope leakage")
    try:
        return read_as(Leakage, content)
    except ValueError as error:
        raise BlastscopeError(
            f"{where} is damaged ({error}): run `blastscope leakage` again."
        ) from error


def compare_out_of_fold(
    known: Path, unseen: Path, resamples: int = 2000, seed: int = 24
) -> Leakage:
    """Compare two out-of-fold tables of the same cells and recipe.

    The metrics are means over the repeats. Intervals draw whole subjects, the same ones for both
    tables and all repeats.

    Args:
        known: the out-of-fold table of folds by cell (``matched`` or ``image``).
        unseen: that of folds by subject.

    Raises:
        BlastscopeError: if a table is of another kind, or they differ in cells, repeats or the
            settings of the recipe.
    """
    with_known, settings = _read(known, ("matched", "image"))
    with_unseen, others = _read(unseen, ("subject",))
    if settings != others:
        raise BlastscopeError(
            f"{known} and {unseen} are of networks with other settings: "
            f"{first_difference(settings, others)}; make both with the same."
        )
    tables = {"known": with_known, "unseen": with_unseen}
    pairs = _paired(with_known, with_unseen, known, unseen)
    first = pairs[0]
    is_all = (first["label"] == "all").to_numpy()
    subjects = first["subject"].to_list()
    p_all = np.column_stack([rows[name].to_numpy() for rows in pairs for name in tables])
    draws = resampling(is_all, subjects, resamples, seed)
    drawn = draw(WeightedMetrics(is_all, p_all).of, draws)

    def estimate(weights: NDArray[np.float64], at: int) -> Estimate:
        """A metric's sum over the columns under weights."""
        (found,) = drawn.of(lambda metrics: metrics[..., at] @ weights).estimates()
        return found

    gains = {name: _gain(drawn.value[0], METRICS.index(name), estimate) for name in MEASURED}
    synthetic = any("synthetic" in str(name) for name in first["model"].unique())
    return Leakage(gains, len(is_all), len(set(subjects)), draws.sampling, synthetic, settings)


def _gain(
    values: NDArray[np.float64], at: int, estimate: Callable[[NDArray[np.float64], int], Estimate]
) -> LeakageGain:
    """Sum up one metric; the columns are known and unseen, repeat by repeat."""
    repeats = len(values) // 2
    known, unseen = (np.tile(which, repeats) / repeats for which in ([1.0, 0.0], [0.0, 1.0]))
    return LeakageGain(
        estimate(known, at),
        estimate(unseen, at),
        estimate(known - unseen, at),
        tuple((values[0::2, at] - values[1::2, at]).tolist()),
    )


def _read(path: Path, ways: tuple[str, ...]) -> tuple[pl.DataFrame, dict[str, Any] | None]:
    """Read an out-of-fold table, and the settings of the recipe that made it."""
    table, metadata = read_predictions(path)
    if metadata.get("out_of_fold") not in ways or "repeat" not in table.columns:
        raise BlastscopeError(
            f"{path} is not an out-of-fold table by {' or '.join(ways)}: make it with `blastscope "
            f"crossval --by {ways[0]}`."
        )
    return table, metadata.get("settings")


def _paired(
    known: pl.DataFrame, unseen: pl.DataFrame, first: Path, second: Path
) -> list[pl.DataFrame]:
    """Put each repeat's two probabilities of a cell side by side."""
    pairs = []
    for repeat in sorted(set(known["repeat"]) | set(unseen["repeat"])):
        mine, other = (frame.filter(pl.col("repeat") == repeat) for frame in (known, unseen))
        beside = other.select("cell", unseen="p_all")
        rows = mine.rename({"p_all": "known"}).join(beside, on="cell", how="inner").sort("cell")
        if rows.is_empty() or not rows.height == mine.height == other.height:
            raise BlastscopeError(
                f"{first} and {second} have other cells in repeat {repeat}: make both from one "
                "store, with the same number of repeats."
            )
        pairs.append(rows)
    return pairs
