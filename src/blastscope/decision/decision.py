"""The decision: everything that turns probabilities into calls, fitted once and kept as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blastscope.decision.blast_share import Reference, reference
from blastscope.decision.calibration import Bools, Calibration, Floats
from blastscope.decision.calibration_choice import CalibrationChoice, choose_calibration
from blastscope.decision.conformal import Conformal, fit_conformal
from blastscope.decision.operating_point import (
    DEFAULT,
    OperatingPoint,
    OperatingRule,
    choose_point,
    read_rule,
)
from blastscope.decision.referral import Referral, choose_referral, sureness
from blastscope.errors import BlastscopeError
from blastscope.io.json_objects import Probability, read_as


@dataclass(frozen=True)
class DecisionRequest:
    """The options of decisions.

    Attributes:
        error: the share of wrong calls among those that are not referred.
        coverage: how often a conformal set should contain the true label.
    """

    rule: OperatingRule = DEFAULT
    error: float = 0.05
    coverage: float = 0.90

    def changed(
        self, rule: str | None = None, error: float | None = None, coverage: float | None = None
    ) -> DecisionRequest:
        """Change what is given, as a user writes it.

        Raises:
            BlastscopeError: if a value is out of range.
        """
        for name, value in (("error", error), ("coverage", coverage)):
            if value is not None and not 0 < value < 1:
                raise BlastscopeError(
                    f"{name} {value:g} is out of range: give a share above 0 and below 1."
                )
        return DecisionRequest(
            self.rule if rule is None else read_rule(rule), error or self.error,
            coverage or self.coverage,
        )  # fmt: skip


@dataclass(frozen=True)
class Decided:
    """Calls of cells, shape (n,) each.

    Attributes:
        p_all: the calibrated probability of ALL.
        called: whether the cell is called ALL.
        sure: the probability that the call is right.
        refer: whether the cell goes to the expert.
        sets: whether normal and whether ALL are in its conformal set, shape (n, 2).
    """

    p_all: Floats
    called: Bools
    sure: Floats
    refer: Bools
    sets: NDArray[np.bool_]

    def take(self, here: Bools) -> Decided:
        """Keep the cells for which ``here``, shape (n,), is true."""
        return Decided(*(getattr(self, field.name)[here] for field in fields(self)))


@dataclass(frozen=True)
class Decision:
    """Everything that is fitted.

    Attributes:
        referral: how sure a call has to be to be kept.
        reference: right calls by subject at the operating point; None if subjects are unknown.
        share_all: the share of ALL among them: probabilities are right for such a mix only.
        subjects: how many subjects they are of; 0 if unknown.
    """

    calibration: Calibration
    choice: CalibrationChoice
    point: OperatingPoint
    referral: Referral
    conformal: Conformal
    reference: Reference | None
    cells: int
    share_all: Probability
    subjects: int

    def apply(self, p_all: Floats) -> Decided:
        """Call cells by a network's probabilities of ALL, shape (n,)."""
        return self.call(self.calibration.apply(p_all))

    def call(self, p: Floats) -> Decided:
        """Call cells by calibrated probabilities of ALL, shape (n,)."""
        called = p > self.point.threshold
        sure = sureness(p, called)
        return Decided(p, called, sure, self.referral.refers(sure), self.conformal.sets(p))

    def as_json(self) -> dict[str, Any]:
        """Everything, for ``decision.json`` and bundles."""
        content = asdict(self)
        content["point"]["rule"] = str(self.point.rule)
        return content

    @classmethod
    def from_json(cls, content: Any, where: str) -> Decision:
        """Read what :meth:`as_json` made.

        Raises:
            BlastscopeError: if something is missing or of another kind.
        """
        if not isinstance(content, dict) or "calibration" not in content:
            raise BlastscopeError(
                f"{where} has no decision (its calibration is missing): run `blastscope evaluate` "
                "again."
            )
        calibration = Calibration.from_json(content["calibration"], where)
        try:
            return replace(read_as(cls, content), calibration=calibration)
        except (ValueError, BlastscopeError) as error:
            raise BlastscopeError(
                f"{where} has a damaged decision ({error}): run `blastscope evaluate` again."
            ) from error


def fit_decision(
    is_all: Bools, p_all: Floats, subjects: Sequence[str | None], request: DecisionRequest
) -> Decision:
    """Fit calibration, operating point, referral and conformal sets, one after the other.

    Args:
        is_all: truth, shape (n,), both classes present.
        p_all: a network's probability of ALL, shape (n,).
        subjects: each cell's subject; None if unknown.
    """
    calibration, choice = choose_calibration(is_all, p_all, subjects)
    p = calibration.apply(p_all)
    point = choose_point(request.rule, is_all, p)
    called = p > point.threshold
    return Decision(
        calibration=calibration,
        choice=choice,
        point=point,
        referral=choose_referral(called != is_all, sureness(p, called), request.error),
        conformal=fit_conformal(is_all, p, request.coverage),
        reference=reference(is_all, called, subjects),
        cells=len(is_all),
        share_all=float(is_all.mean()),
        subjects=len({subject for subject in subjects if subject is not None}),
    )
