"""What a model's ``decision.json`` makes of its probabilities for new cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.decision.blast_share import told
from blastscope.decision.decision_file import NAME, DecisionFile, read_decision
from blastscope.decision.subject_shares import subject_shares
from blastscope.errors import BlastscopeError
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.io.predictions import PROBLEM
from blastscope.prediction.members import Members
from blastscope.report.decision_text import METHODS

_CALLS = {True: "all", False: "hem"}


def find_decision(
    models: Sequence[Path], voters: Members, given: Path | None
) -> DecisionFile | None:
    """Find what to decide by: what is given, or what an evaluation left in the model's folder.

    Args:
        models: the folders of runs, or of one ensemble or bundle.
        voters: what was opened from them.
        given: a ``decision.json`` or a folder with one, of a cross-validation for instance; None
            for the model's own.

    Raises:
        BlastscopeError: where ``given`` is none, or a decision is of other weights or, where it
            names none, of another recipe.
    """
    if given is not None:
        path = given / NAME if given.is_dir() else given
    elif voters.bundle is not None:
        return voters.decision
    elif len(models) == 1:
        places = (models[0] / NAME, models[0] / "evaluation" / NAME)
        path = next((place for place in places if place.is_file()), places[0])
        if not path.is_file():
            return None
    else:
        return None
    found = read_decision(path)
    if found.checkpoint is not None and found.checkpoint != _weights(voters):
        raise BlastscopeError(
            f"{path} was fitted to the probabilities of other weights than {voters.name}'s: "
            "evaluate the model again, or give its own --decision."
        )
    if found.checkpoint is None and found.recipe not in {run.recipe.name for run in voters.runs}:
        raise BlastscopeError(
            f"{path} was fitted to the probabilities of {found.model}, not of {voters.name}: give "
            "the decision of this model, or of a cross-validation of its recipe."
        )
    return found


def _weights(voters: Members) -> str | None:
    """The fingerprint that predictions of these voters carry, where they are one thing."""
    if voters.ensemble is not None:
        return voters.ensemble
    return voters.runs[0].checkpoint if len(voters.runs) == 1 else None


@dataclass(frozen=True)
class Tally:
    """What was decided of all cells together.

    Attributes:
        called_all: how many cells are called ALL.
        referred: how many go to an expert; None where nothing says so.
        out_of_distribution: how many look like no cell that the networks know; None
            where none can tell.
        persons: a row a subject (see ``decision.subject_shares.person_table``); None where
        nothing decides. doubt: how often the intervals of persons' shares held them in simulations.
    """

    called_all: int
    referred: int | None
    out_of_distribution: int | None
    persons: pl.DataFrame | None
    doubt: str


def how_decided(by: DecisionFile, brief: bool = False) -> str:
    """Say by which rule, threshold and calibration cells are called, and what that rests on.

    Args:
        by: the decision.
        brief: leave out where it is from and which cells it was fitted on.
    """
    point, made = by.decision.point, METHODS[by.decision.calibration.method]
    said = (
        f"ALL above p = {max(point.threshold, 0):.3f}, by the rule {point.rule.sentence} (where it "
        f"was chosen: sensitivity {point.sensitivity:.2f}, specificity {point.specificity:.2f}); "
        f"probabilities {made}."
    )
    return said if brief else f"{said} {by.sentence} ({by.path})"


def decide(frame: pl.DataFrame, by: DecisionFile | None) -> pl.DataFrame:
    """Calibrate ``p_all`` of a prediction table and add what is decided.

    The table gets the columns ``p_raw`` (the network's own probability), ``called`` (``all`` or
    ``hem``), ``sure`` (the probability that the call is right) and ``refer``. A cell that is
    ``out_of_distribution`` is called nothing and goes to the expert; of an image without a
    probability nothing is said. Without a decision the table stays as it is.
    """
    if by is None:
        return frame
    raw = frame["p_all"]
    known, there = ~frame["out_of_distribution"].fill_null(False), raw.is_not_null()
    decided = by.decision.apply(raw.fill_null(0.5).to_numpy())
    called = pl.Series("called", decided.called).replace_strict(_CALLS, return_dtype=pl.String)
    made = frame.with_columns(
        p_all=pl.when(there).then(pl.Series(decided.p_all)),
        p_raw=raw,
        called=pl.when(known & there).then(called),
        sure=pl.when(known & there).then(pl.Series(decided.sure)),
        refer=pl.when(there).then(pl.Series(decided.refer) | ~known),
    )
    last = [name for name in ("spread", PROBLEM) if name in frame.columns]
    return made.select(pl.exclude(last), *last)


def tally(frame: pl.DataFrame, by: DecisionFile | None) -> Tally:
    """Count what was decided, and sum up each subject.

    Without a decision a cell counts as called ALL above one half. An out-of-distribution cell
    counts for no subject.

    Args:
        frame: what ``decide`` made.
        by: what it decided by.
    """
    strange = frame["out_of_distribution"].drop_nulls()
    out_of_distribution = None if strange.is_empty() else int(strange.sum())
    if by is None:
        known = frame.filter(~pl.col("out_of_distribution").fill_null(False))
        return Tally(int((known["p_all"] > THRESHOLD).sum()), None, out_of_distribution, None, "")
    usable = frame.filter(
        pl.col("p_raw").is_not_null() & ~pl.col("out_of_distribution").fill_null(False)
    )
    decided = by.decision.apply(usable["p_raw"].to_numpy())
    reference = by.decision.reference
    return Tally(
        int((frame["called"] == "all").sum()),
        int(frame["refer"].sum()),
        out_of_distribution,
        subject_shares(usable, decided, reference),
        "" if reference is None else told(reference),
    )


def about_decision(by: DecisionFile | None) -> dict[str, Any]:
    """Return what a table says of what it was decided by."""
    if by is None:
        return {}
    point = by.decision.point
    return {"decision": by.digest, "threshold": point.threshold, "rule": str(point.rule)}
