"""What a model's ``decision.json`` makes of its probabilities for new cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.decision.decision_file import NAME, DecisionFile, read_decision
from blastscope.decision.subject_shares import subject_shares
from blastscope.errors import BlastscopeError
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.io.predictions import INDUCTIVE, PROBLEM
from blastscope.io.workfolder import first_difference
from blastscope.prediction.members import Members

_CALLS = {True: "all", False: "hem"}
_KNOWN = ~pl.col("out_of_distribution").fill_null(False)


def find_decision(
    models: Sequence[Path], members: Members, decision: Path | None
) -> DecisionFile | None:
    """Find what to decide by: what is given, or what an evaluation left in the model's folder.

    ``decision`` is a ``decision.json`` or a folder with one, such as that of a cross-validation;
    None means the model's own.

    Raises:
        BlastscopeError: if ``decision`` is not a decision, or a decision belongs to other weights
            or, if it names none, if a member's recipe has other settings.
    """
    if decision is not None:
        path = decision / NAME if decision.is_dir() else decision
    elif members.bundle is not None:
        return members.decision
    elif len(models) == 1:
        paths = (models[0] / NAME, models[0] / "evaluation" / NAME)
        path = next((one for one in paths if one.is_file()), paths[0])
        if not path.is_file():
            return None
    else:
        return None
    found = read_decision(path)
    if found.checkpoint is not None and found.checkpoint != _weights(members):
        raise BlastscopeError(
            f"{path} was fitted to other weights than those of {members.name}: evaluate the model "
            "again, or give its own --decision."
        )
    if found.checkpoint is None:
        _refuse_other_settings(found, members)
    return found


def _refuse_other_settings(found: DecisionFile, members: Members) -> None:
    """Refuse a decision of several networks if a member is not trained as they were."""
    if any(run.recipe.name != found.recipe for run in members.runs):
        raise BlastscopeError(
            f"{found.path} was fitted to {found.model}, not to {members.name}: give the decision "
            "of this model, or of a cross-validation of its recipe."
        )
    if not isinstance(found.settings, dict):
        raise BlastscopeError(
            f"{found.path} does not say which weights or settings {found.model} has: evaluate the "
            "folder of its run or cross-validation, and give the decision that this writes."
        )
    for run in members.runs:
        if (settings := run.recipe.settings) != found.settings:
            raise BlastscopeError(
                f"{found.path} was fitted to networks with other settings than those of "
                f"{run.path} ({run.recipe.name}): {first_difference(found.settings, settings)}; "
                "give a decision of this model, or of a cross-validation with its settings."
            )


def _weights(members: Members) -> str | None:
    """Return the checkpoint that tables of these networks carry; None if there are several."""
    if members.ensemble is not None:
        return members.ensemble
    return members.runs[0].checkpoint if len(members.runs) == 1 else None


@dataclass(frozen=True)
class Tally:
    """What was decided of all cells together."""

    called_all: int  # how many cells are called ALL
    referred: int | None  # how many go to an expert; None if the model does not decide
    # How many look unlike the training cells; None if cells were predicted without a detector.
    out_of_distribution: int | None
    # A row a subject (``decision.subject_shares``); None if the model does not decide.
    subjects: pl.DataFrame | None


def decide(frame: pl.DataFrame, by: DecisionFile | None) -> pl.DataFrame:
    """Calibrate ``p_all`` of a prediction table and add what is decided.

    The table gets the columns ``p_raw`` (the network's own probability), ``called`` (``all`` or
    ``hem``), ``confidence`` (the probability that the call is right) and ``refer``. A cell that is
    ``out_of_distribution`` is not called and is referred to the expert; an image without a
    probability gets nulls. Without a decision the table stays as it is.
    """
    if by is None:
        return frame
    raw = frame["p_all"]
    calibrated = pl.Series(by.decision.calibration.apply(raw.fill_null(0.5).to_numpy()))
    made = call_cells(
        frame.with_columns(p_all=pl.when(raw.is_not_null()).then(calibrated), p_raw=raw), by
    )
    last = [name for name in ("spread", PROBLEM) if name in frame.columns]
    return made.select(pl.exclude(last), *last)


def call_cells(frame: pl.DataFrame, by: DecisionFile) -> pl.DataFrame:
    """Add ``called``, ``confidence`` and ``refer`` by ``p_all``, or replace them."""
    predicted = frame["p_all"].is_not_null()
    known = ~frame["out_of_distribution"].fill_null(False)
    decided = by.decision.call(frame["p_all"].fill_null(0.5).to_numpy())
    called = pl.Series("called", decided.called).replace_strict(_CALLS, return_dtype=pl.String)
    return frame.with_columns(
        called=pl.when(known & predicted).then(called),
        confidence=pl.when(known & predicted).then(pl.Series(decided.sure)),
        refer=pl.when(predicted).then(pl.Series(decided.refer) | ~known),
    )


def tally(frame: pl.DataFrame, by: DecisionFile | None) -> Tally:
    """Count what ``decide`` decided, and sum up each subject.

    Without a decision a cell counts as called ALL above one half. An out-of-distribution cell
    counts for no subject. If probabilities were corrected by neighbours, no share of blasts is
    estimated: how right such calls are on known subjects was not measured.
    """
    flags, predicted = frame["out_of_distribution"], frame["p_all"].count()
    # Without a single predicted cell a model with a detector has no flags either.
    out_of_distribution = None if predicted and not flags.count() else int(flags.sum() or 0)
    if by is None:
        called = int((frame.filter(_KNOWN)["p_all"] > THRESHOLD).sum())
        return Tally(called, None, out_of_distribution, None)
    usable = frame.filter(pl.col("p_all").is_not_null() & _KNOWN)
    decided = by.decision.call(usable["p_all"].to_numpy())
    known = None if INDUCTIVE in frame.columns else by.decision.reference
    return Tally(
        int((frame["called"] == "all").sum()),
        int(frame["refer"].sum()),
        out_of_distribution,
        subject_shares(usable, decided, known),
    )


def about_decision(by: DecisionFile | None) -> dict[str, Any]:
    """Return what a table records of what it was decided by."""
    if by is None:
        return {}
    point = by.decision.point
    return {"decision": by.digest, "threshold": point.threshold, "rule": str(point.rule)}
