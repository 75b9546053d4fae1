"""Read and write ``decision.json``: a decision, its options and its assessment."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blastscope.decision.decision import Decision, DecisionRequest
from blastscope.decision.fitting import FittedOn, NoDecision
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, refuse_other_version, without_nan, write_json
from blastscope.io.json_objects import read_as
from blastscope.io.predictions import SYNTHETIC_MARK

if TYPE_CHECKING:
    from blastscope.decision.assessment import DecisionAssessment
    from blastscope.evaluation.confidence_intervals import Estimate

KIND = "blastscope-decision"
FORMAT = f"{KIND}/2"
NAME = "decision.json"


@dataclass(frozen=True)
class DecisionFile:
    """What ``predict`` and bundles read from the file.

    Attributes:
        checkpoint: ``sha256:`` of that model's weights; None if unknown.
        digest: ``sha256:`` of the content, its keys sorted.
        settings: of the recipe, without its seed, if it was fitted to several networks of it.
        estimates: as in the file; :meth:`reached` reads them.
        reliability: as in the file; :meth:`errors_after` reads it.
    """

    path: Path
    decision: Decision
    model: str
    checkpoint: str | None
    synthetic: bool
    fitted_on: FittedOn
    digest: str
    settings: dict[str, Any] | None = None
    estimates: Any = None
    reliability: Any = None

    def reached(self) -> dict[str, Estimate]:
        """Return what it reached on the cells that were reported; empty if that is not recorded.

        Raises:
            BlastscopeError: if the file is damaged.
        """
        from blastscope.evaluation.confidence_intervals import Estimate  # it takes SciPy along

        if self.estimates is None:
            return {}
        try:
            return read_as(dict[str, Estimate], self.estimates)
        except ValueError as error:
            raise _damaged(self.path, error) from error

    def errors_after(self) -> dict[str, float]:
        """Return ``ece``, ``by_chance``, ``intercept`` and ``slope`` of the probabilities as used.

        What is not recorded or not defined is left out.

        Raises:
            BlastscopeError: if the file is damaged.
        """
        if self.reliability is None:
            return {}
        try:
            found = read_as(dict[str, dict[str, float | None]], self.reliability)["after"]
        except (KeyError, ValueError) as error:
            raise _damaged(self.path, ValueError(str(error))) from error
        return {name: value for name, value in found.items() if value is not None}

    @property
    def recipe(self) -> str:
        """The model's name without the marks of a repeat or of synthetic cells."""
        return self.model.removesuffix(SYNTHETIC_MARK).partition(" #")[0]


def write_decision(
    out: Path,
    found: DecisionAssessment | NoDecision,
    request: DecisionRequest,
    about: dict[str, Any],
) -> None:
    """Write ``decision.json`` into a folder; without a decision an older one is removed.

    ``about``: ``model``, ``checkpoint``, ``synthetic``, ``part`` and ``settings``.
    """
    path = out / NAME
    if isinstance(found, NoDecision):
        if path.is_file() and str(read_json(path).get("format")).startswith(KIND):
            path.unlink()
        return
    scores = ("ece", "by_chance", "brier", "log_loss")
    content = {
        "format": FORMAT,
        **about,
        "fitted_on": asdict(found.fitted_on),
        "request": {**asdict(request), "rule": str(request.rule)},
        "decision": found.decision.as_json(),
        "estimates": {name: asdict(value) for name, value in found.estimates.items()},
        "reliability": {
            name: {
                **{score: getattr(of, score) for score in scores},
                **without_nan(asdict(of.line)),
            }
            for name, of in (("before", found.before), ("after", found.after))
        },
        "risk_coverage": {"area": found.curve.area, "best": found.curve.best},
        "known_coverage": found.known_coverage,
        "sampling": asdict(found.sampling),
        "subject_shares": found.subject_shares.to_dicts(),
    }
    write_json(path, without_nan(content))


def read_decision(path: Path) -> DecisionFile:
    """Read a decision that an evaluation wrote.

    Raises:
        BlastscopeError: if the file is missing, too large, damaged or of another kind or version.
    """
    return decision_from(read_json(path), path)


def _damaged(path: Path, error: ValueError) -> BlastscopeError:
    return BlastscopeError(f"{path} is damaged ({error}): run `blastscope evaluate` again.")


def decision_from(content: dict[str, Any], path: Path) -> DecisionFile:
    """Read a decision from the content of its file, with the errors of :func:`read_decision`."""
    refuse_other_version(content, FORMAT, path, "blastscope evaluate")
    try:
        fitted_on = read_as(FittedOn, content.get("fitted_on"))
    except ValueError as error:
        raise _damaged(path, error) from error
    checkpoint = content.get("checkpoint")
    whole = json.dumps(content, sort_keys=True).encode()
    return DecisionFile(
        path,
        Decision.from_json(content.get("decision"), str(path)),
        str(content.get("model")),
        None if checkpoint is None else str(checkpoint),
        content.get("synthetic") is True,
        fitted_on,
        "sha256:" + hashlib.sha256(whole).hexdigest(),
        content.get("settings"),
        content.get("estimates"),
        content.get("reliability"),
    )
