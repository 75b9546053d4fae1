"""What a model's ``decision.json`` makes of its probabilities for new cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from blastscope.decide.decision import Decided
from blastscope.decide.file import NAME, DecisionFile, read_decision
from blastscope.errors import BlastscopeError
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
        BlastscopeError: where ``given`` is none, or a decision is of other weights.
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
    return found


def _weights(voters: Voters) -> str | None:
    """The fingerprint that predictions of these voters carry, where they are one thing."""
    if voters.ensemble is not None:
        return voters.ensemble
    return voters.runs[0].checkpoint if len(voters.runs) == 1 else None


def with_decision(frame: pl.DataFrame, decision: DecisionFile) -> tuple[pl.DataFrame, Decided]:
    """Calibrate ``p_all`` of a prediction table and add what is decided.

    Returns:
        The table with ``p_raw`` (the network's own), ``called`` (``all`` or ``hem``), ``sure``
        (the probability that the call is right) and ``refer`` behind it; and the decisions.
    """
    raw = frame["p_all"]
    decided = decision.decision.apply(raw.to_numpy())
    return (
        frame.with_columns(
            p_all=pl.Series(decided.p_all),
            p_raw=raw,
            called=pl.Series(decided.called).replace_strict(_CALLS, return_dtype=pl.String),
            sure=pl.Series(decided.sure),
            refer=pl.Series(decided.refer),
        ),
        decided,
    )
