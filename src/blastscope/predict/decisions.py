"""What a model's ``decision.json`` makes of its probabilities for new cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.decide.file import NAME, DecisionFile, read_decision
from blastscope.decide.patient import told
from blastscope.decide.persons import person_table
from blastscope.decide.words import METHODS
from blastscope.errors import BlastscopeError
from blastscope.evaluate.metrics import THRESHOLD
from blastscope.files import sha256_of
from blastscope.predict.voters import Voters

_CALLS = {True: "all", False: "hem"}


def find_decision(
    models: Sequence[Path], voters: Voters, given: Path | None
) -> DecisionFile | None:
    """Find what to decide by: what is given, or what an evaluation left in the model's folder.

    Args:
        models: the folders of runs, or of one ensemble.
        voters: what was opened from them.
        given: a ``decision.json`` or a folder with one, of a cross-validation for instance; None
            for the model's own.

    Raises:
        BlastscopeError: where ``given`` is none, or a decision is of other weights or, where it
            names none, of another recipe.
    """
    if given is not None:
        path = given / NAME if given.is_dir() else given
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


def _weights(voters: Voters) -> str | None:
    """The fingerprint that predictions of these voters carry, where they are one thing."""
    if voters.ensemble is not None:
        return voters.ensemble
    return voters.runs[0].checkpoint if len(voters.runs) == 1 else None


@dataclass(frozen=True)
class Decisions:
    """A prediction table with what was decided of its cells.

    Attributes:
        frame: the table.
        called_all: how many cells are called ALL.
        referred: how many go to an expert; None where nothing says so.
        persons: a row a subject; None likewise.
        doubt: how often the intervals of persons' shares held them in simulations.
        about: what the table should say of it.
    """

    frame: pl.DataFrame
    called_all: int
    referred: int | None
    persons: pl.DataFrame | None
    doubt: str
    about: dict[str, Any]


def how_decided(by: DecisionFile) -> str:
    """Say by which rule, threshold and calibration cells are called, and what that rests on."""
    point, made = by.decision.point, METHODS[by.decision.calibration.method]
    return (
        f"ALL above p = {max(point.threshold, 0):.3f}, by the rule {point.rule.sentence}; "
        f"probabilities {made} ({by.path}). {by.sentence}"
    )


def decide(frame: pl.DataFrame, by: DecisionFile | None) -> Decisions:
    """Calibrate ``p_all`` of a prediction table and add what is decided.

    The table gets the columns ``p_raw`` (the network's own probability), ``called`` (``all`` or
    ``hem``), ``sure`` (the probability that the call is right) and ``refer``. A cell that is
    ``unfamiliar`` is called nothing, goes to the expert and counts for no subject. Without a
    decision the table stays as it is, and a cell counts as called ALL above one half.
    """
    raw, known = frame["p_all"], ~frame["unfamiliar"].fill_null(False)
    if by is None:
        return Decisions(frame, int((raw > THRESHOLD).sum()), None, None, "", {})
    decided = by.decision.apply(raw.to_numpy())
    called = pl.Series("called", decided.called).replace_strict(_CALLS, return_dtype=pl.String)
    table = frame.with_columns(
        p_all=pl.Series(decided.p_all),
        p_raw=raw,
        called=pl.when(known).then(called),
        sure=pl.Series(decided.sure),
        refer=pl.Series(decided.refer) | ~known,
    )
    about = {
        "decision": sha256_of(by.path),
        "threshold": by.decision.point.threshold,
        "rule": str(by.decision.point.rule),
    }
    here = known.to_numpy()
    persons = person_table(frame.filter(known), decided.take(here), by.decision.reference)
    called_all = int((table["called"] == "all").sum())
    reference = by.decision.reference
    doubt = "" if reference is None else told(reference)
    return Decisions(table, called_all, int(table["refer"].sum()), persons, doubt, about)
