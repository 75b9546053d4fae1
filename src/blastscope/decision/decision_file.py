"""``decision.json``: what to decide by from now on, what it was asked for and what it is worth."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blastscope.decision.decision import Decision, DecisionRequest
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, without_nan, write_json
from blastscope.io.predictions import SYNTHETIC_MARK

if TYPE_CHECKING:
    from blastscope.decision.assessment import DecisionAssessment

FORMAT = "blastscope-decision/1"
NAME = "decision.json"


@dataclass(frozen=True)
class DecisionFile:
    """What ``predict`` and bundles take from the file.

    Attributes:
        path: the file.
        decision: what to decide by.
        model: whose probabilities it is for.
        checkpoint: ``sha256:`` of the weights that made them; None where unknown.
        synthetic: whether it was fitted on synthetic cells.
        sentence: which cells it was fitted on, and what that means.
        digest: ``sha256:`` of the content, its keys sorted.
    """

    path: Path
    decision: Decision
    model: str
    checkpoint: str | None
    synthetic: bool
    sentence: str
    digest: str

    @property
    def recipe(self) -> str:
        """The model's name without what a repeat or synthetic cells add to it."""
        return self.model.removesuffix(SYNTHETIC_MARK).partition(" #")[0]


def write_decision(
    out: Path, found: DecisionAssessment | str, request: DecisionRequest, about: dict[str, Any]
) -> None:
    """Write ``decision.json`` into a folder; where there is no decision an older one goes.

    Args:
        out: the folder.
        found: the judgement, or why there is none.
        request: what was asked for, kept for the next time.
        about: ``model``, ``checkpoint``, ``synthetic`` and ``part``.
    """
    path = out / NAME
    if isinstance(found, str):
        if path.is_file() and read_json(path).get("format") == FORMAT:
            path.unlink()
        return
    after, before = asdict(found.after), asdict(found.before)
    scores = ("ece", "by_chance", "brier", "log_loss")
    content = {
        "format": FORMAT,
        **about,
        "sentence": found.sentence,
        "request": {**asdict(request), "rule": str(request.rule)},
        "decision": found.decision.as_json(),
        "estimates": {name: asdict(value) for name, value in found.estimates.items()},
        "reliability": {
            "before": {name: before[name] for name in scores},
            "after": {name: after[name] for name in scores},
        },
        "risk_coverage": {"area": found.curve.area, "best": found.curve.best},
        "known_coverage": found.known_coverage,
        "persons": found.persons.to_dicts(),
    }
    write_json(path, without_nan(content))


def read_decision(path: Path) -> DecisionFile:
    """Read a decision that an evaluation wrote.

    Raises:
        BlastscopeError: where the file is missing, too large, or none.
    """
    return decision_from(_read(path), path)


def decision_from(content: dict[str, Any], path: Path) -> DecisionFile:
    """Read a decision from the content of its file.

    Raises:
        BlastscopeError: naming ``path``, where it is none.
    """
    if content.get("format") != FORMAT:
        raise _unreadable(path)
    checkpoint = content.get("checkpoint")
    whole = json.dumps(content, sort_keys=True).encode()
    return DecisionFile(
        path,
        Decision.from_json(content.get("decision"), str(path)),
        str(content.get("model")),
        None if checkpoint is None else str(checkpoint),
        content.get("synthetic") is True,
        str(content.get("sentence", "")),
        "sha256:" + hashlib.sha256(whole).hexdigest(),
    )


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise _unreadable(path)
    return content


def _unreadable(path: Path) -> BlastscopeError:
    return BlastscopeError(f"{path} is no {FORMAT} file: remove it and evaluate again.")
