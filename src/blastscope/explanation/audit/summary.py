"""A study's tables summed up: for each model what its maps are worth, and what it goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from blastscope.data.crop import Scale
from blastscope.errors import BlastscopeError
from blastscope.explanation.audit.attributions import (
    KINDS,
    MUST_BEAT,
    Heat,
    MeanCurve,
    RivalComparison,
    named,
    rank_pixels,
    share_heat,
)
from blastscope.explanation.audit.calls import Blurred, CallSummary, blur_away, decision
from blastscope.explanation.audit.means import FEWEST, Floats, Rows, means
from blastscope.explanation.audit.off_cell import Elsewhere, looks
from blastscope.explanation.audit.radius import ByRadius, profile
from blastscope.explanation.audit.sanity_checks import (
    FOLLOWS,
    UNTOLD,
    Randomised,
    judge_randomisation,
)
from blastscope.explanation.audit.size import SizeQuestion, ask_size
from blastscope.explanation.audit.words import listed
from blastscope.io.files import without_nan

TESTS = (
    "those of heat (in the cell no less than its share of the picture), of deletion and insertion "
    "(each against random maps and against other cells' maps), and of scrambled weights"
)


@dataclass(frozen=True)
class ModelAudit:
    """One model's figures.

    Attributes:
        model: its name.
        cells: how many cells were studied.
        decision: what it makes of them: whether there is anything for a map to show.
        blurred: what is left of its calls with everything blurred away; None without deletion.
        heat: where the evidence lies: by Grad-CAM, and by occlusion where that was asked for.
        curves: deletion and insertion of every method; empty where none was asked for.
        gains: Grad-CAM against its rivals.
        randomised: whether the map follows the weights; None where that was not tested.
        by_radius: the evidence from centre to outline; None without labels or evidence.
        size: the size question; None where no cell was rescaled.
        elsewhere: the cells where it looks at the background or at debris.
    """

    model: str
    cells: int
    decision: CallSummary
    blurred: Blurred | None
    heat: tuple[Heat, ...]
    curves: tuple[MeanCurve, ...]
    gains: tuple[RivalComparison, ...]
    randomised: Randomised | None
    by_radius: ByRadius | None
    size: SizeQuestion | None
    elsewhere: tuple[Elsewhere, ...]

    @property
    def grad_cam(self) -> Heat:
        """The heat of Grad-CAM."""
        return self.heat[0]

    @property
    def doubts(self) -> tuple[str, ...]:
        """What it does not pass of the tests of its Grad-CAM maps, and how.

        Whether a map follows the weights may be untold, too; :attr:`untold` says that.
        """
        found = [*self.decision.doubts, *self.grad_cam.doubts]
        for kind in KINDS:
            failed = self.failed(kind)
            if failed:
                found.append(f"{kind} {listed(failed)}")
        if self.randomised is None:
            found.append("scrambled weights not tried")
        elif self.randomised.verdict not in (FOLLOWS, UNTOLD):
            found.append(self.randomised.verdict)
        return tuple(found)

    @property
    def untold(self) -> bool:
        """Whether scrambled weights were tried, and tell nothing."""
        return self.randomised is not None and self.randomised.verdict == UNTOLD

    def failed(self, kind: str) -> tuple[str, ...]:
        """Return the verdicts against what it must beat and does not; each once."""
        gains = {rival: self.gain(kind, rival) for rival in MUST_BEAT}
        if not any(gains.values()):
            return ("not measured",)
        found = [
            f"not held against {named(rival)}" if gain is None else gain.verdict
            for rival, gain in gains.items()
            if gain is None or not gain.better
        ]
        return tuple(dict.fromkeys(found))

    def curve(self, kind: str, method: str) -> MeanCurve | None:
        """Return one mean curve, if it was asked for."""
        wanted = (c for c in self.curves if (c.kind, c.method) == (kind, method))
        return next(wanted, None)

    def gain(self, kind: str, against: str) -> RivalComparison | None:
        """Return Grad-CAM's difference from a rival, if there is one."""
        wanted = (g for g in self.gains if (g.kind, g.against) == (kind, against))
        return next(wanted, None)


@dataclass(frozen=True)
class AuditSummary:
    """A study summed up.

    Attributes:
        models: in the order of the table.
        cells: how many each of them explained.
        intervals: what the intervals were drawn from, and what is not in them.
        agreement: models × models: the mean correlation of their maps; None on the diagonal, and
            where no cell has both maps.
    """

    models: tuple[ModelAudit, ...]
    cells: int
    intervals: str
    agreement: tuple[tuple[float | None, ...], ...]

    @property
    def answer(self) -> str:
        """Whether the maps are to be believed, model by model."""
        sound = [m.model for m in self.models if not m.doubts and not m.untold]
        told = [f"No model's Grad-CAM maps pass all tests: {TESTS}."]
        if sound:
            told = [f"The Grad-CAM maps of {listed(sound)} pass all tests: {TESTS}."]
        doubted = [f"{m.model} ({'; '.join(m.doubts)})" for m in self.models if m.doubts]
        if doubted:
            told.append(f"In doubt are those of {listed(doubted)}.")
        untold = [m.model for m in self.models if m.untold]
        if untold:
            told.append(f"Whether those of {listed(untold)} follow the weights cannot be told.")
        return " ".join(told)

    def as_json(self) -> dict[str, Any]:
        """The figures for ``study-summary.json``; None where one is undefined."""
        content: dict[str, Any] = without_nan(asdict(self))
        return {"answer": self.answer, **content}


def summarise(
    cells: pl.DataFrame,
    randomisation: pl.DataFrame,
    scales: Mapping[str, Scale],
    seed: int = 24,
) -> AuditSummary:
    """Sum up the two tables of a study.

    All intervals are of 95 %, from resamples of the subjects, the same ones for every model. A mean
    of fewer than ``FEWEST`` cells has none, and no verdict.

    Args:
        cells: ``study.parquet``, the models in the study's order.
        randomisation: ``randomisation.parquet``.
        scales: by model, how its cells were prepared: ``crop`` or ``keep``.
        seed: of the resamples.

    Raises:
        BlastscopeError: where there are no cells, or the models did not explain the same ones.
        ValueError: where lists of the tables are not of the study's lengths.
    """
    models = [str(name) for name in cells["model"].unique(maintain_order=True)]
    if not models:
        raise BlastscopeError("The study holds no cells: run it again.")
    rows = {model: _rows(cells, model, models[0], seed) for model in models}
    elsewhere = looks(cells)
    found = tuple(
        _sum_up(model, mine, randomisation, scales[model], elsewhere[model])
        for model, mine in rows.items()
    )
    agreement = tuple(
        _agreement(mine, place, len(models)) for place, mine in enumerate(rows.values())
    )
    first = rows[models[0]]
    height = first.frame.height
    said = first.draws.sentence
    if height < FEWEST:
        said = f"None: {height} cells are too few."
    return AuditSummary(found, height, said, agreement)


def _rows(cells: pl.DataFrame, model: str, first: str, seed: int) -> Rows:
    """Return a model's rows in the order of the first model's, which pairs their resamples."""
    order = cells.filter(pl.col("model") == first).select("cell")
    mine = cells.filter(pl.col("model") == model)
    laid = order.join(mine, on="cell", how="inner", maintain_order="left")
    if not laid.height == order.height == mine.height or order["cell"].is_duplicated().any():
        raise BlastscopeError(
            f"The study has not the same cells for {model} as for {first}: run it again into an "
            "empty folder."
        )
    return Rows(laid, seed)


def _sum_up(
    model: str,
    rows: Rows,
    randomisation: pl.DataFrame,
    scale: Scale,
    elsewhere: tuple[Elsewhere, ...],
) -> ModelAudit:
    curves, gains = rank_pixels(rows)
    mine = randomisation.filter(pl.col("model") == model)
    return ModelAudit(
        model=model,
        cells=rows.frame.height,
        decision=decision(rows),
        blurred=blur_away(rows),
        heat=share_heat(rows),
        curves=curves,
        gains=gains,
        randomised=judge_randomisation(mine, rows),
        by_radius=profile(rows),
        size=ask_size(rows, scale),
        elsewhere=elsewhere,
    )


def _agreement(rows: Rows, place: int, models: int) -> tuple[float | None, ...]:
    """Return a model's row of the matrix.

    Raises:
        ValueError: where its lists have no number a model, or one for itself, as they would have
            if the models were in another order.
    """
    values: Floats = rows.lists("agreement")
    if not values.shape[1]:
        return (None,) * models
    if values.shape[1] != models or not np.isnan(values[:, place]).all():
        raise ValueError("the agreement's numbers are not in the order of the models")
    return tuple(None if np.isnan(value) else float(value) for value in means(values))
