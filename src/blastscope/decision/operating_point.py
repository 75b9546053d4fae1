"""The operating point: the threshold above which a cell is called ALL, chosen by a named rule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ConfigDict, Field, with_config

from blastscope.decision.calibration import EDGE, Bools, Floats
from blastscope.errors import BlastscopeError
from blastscope.io.json_objects import Probability

Kind = Literal["sensitivity", "specificity", "youden", "cost", "half"]
_HELP = "sensitivity>=0.95, specificity>=0.9, youden, cost=5 or half"
_WRITTEN = re.compile(r"(sensitivity|specificity)\s*>=\s*([0-9.]+)|(cost)\s*=\s*([0-9.]+)")


@dataclass(frozen=True)
class OperatingRule:
    """The rule that an operating point is chosen by.

    ``sensitivity`` and ``specificity``: the best of the other metric that keeps this one at
    ``value`` or above. ``youden``: the largest sum of both (Youden, Cancer 3:32-35, 1950).
    ``cost``: the lowest cost if a missed blast costs ``value`` false alarms. ``half``: one half,
    nothing is chosen.
    """

    kind: Kind
    value: float = 0.0

    def __str__(self) -> str:
        """Write it as :func:`read_rule` reads it."""
        if self.kind in ("youden", "half"):
            return self.kind
        number = np.format_float_positional(self.value, trim="-")  # every digit, no exponent
        return f"{self.kind}{'=' if self.kind == 'cost' else '>='}{number}"


DEFAULT = OperatingRule("sensitivity", 0.95)
"""A missed blast is worse than a false alarm."""


def read_rule(text: str) -> OperatingRule:
    """Read a rule as a user writes it.

    Raises:
        BlastscopeError: if it is not one, or its number is out of range.
    """
    plain = text.strip().lower()
    if plain in ("youden", "half"):
        return OperatingRule(cast(Kind, plain))
    found = _WRITTEN.fullmatch(plain)
    if found is None:
        raise BlastscopeError(f"'{text}' is not a rule for an operating point: write {_HELP}.")
    name, number = filter(None, found.groups())
    try:
        value = float(number)
    except ValueError:
        raise BlastscopeError(
            f"'{number}' in the rule '{text}' is not a number: write {_HELP}."
        ) from None
    if name == "cost" and not 0 < value <= 1000:
        raise BlastscopeError(
            f"cost={number} is out of range: give the false alarms that one missed blast costs, "
            "above 0 and up to 1000."
        )
    if name != "cost" and not 0 < value < 1:
        raise BlastscopeError(
            f"{name}>={number} is out of range: give a share between 0 and 1, as in {name}>=0.95."
        )
    return OperatingRule(cast(Kind, name), value)


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and what it reaches on the cells that it was chosen on.

    Attributes:
        threshold: a cell is called ALL if its calibrated probability is above this; below 0 if even
            cells of probability 0 are.
    """

    rule: Annotated[OperatingRule, BeforeValidator(lambda text: read_rule(str(text)))]
    threshold: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
    sensitivity: Probability
    specificity: Probability


def choose_point(rule: OperatingRule, is_all: Bools, p_all: Floats) -> OperatingPoint:
    """Choose the threshold that a rule asks for, half way between two cells' probabilities.

    Truth (both classes present) and calibrated probability of ALL have shape (n,).
    """
    values = np.unique(p_all)
    # From calling everything ALL to calling nothing ALL.
    lowest = values[0] / 2 if values[0] > 0 else -EDGE  # a cell with p = 0 is not above 0
    thresholds = np.r_[lowest, (values[1:] + values[:-1]) / 2, (1 + values[-1]) / 2]
    if rule.kind == "half":
        thresholds = np.array([0.5])
    # Counts over counts: 1 - .07 is below .93.
    missed, passed = (_below(thresholds, p_all[here]) for here in (is_all, ~is_all))
    n_all, n_hem = int(is_all.sum()), int((~is_all).sum())
    sensitivity, specificity = (n_all - missed) / n_all, passed / n_hem
    at = _best(rule, sensitivity, specificity, float(is_all.mean()))
    return OperatingPoint(
        rule, float(thresholds[at]), float(sensitivity[at]), float(specificity[at])
    )


def _below(thresholds: Floats, p_all: Floats) -> NDArray[np.intp]:
    """How many probabilities are not above each threshold."""
    return np.searchsorted(np.sort(p_all), thresholds, side="right")


def _best(rule: OperatingRule, sensitivity: Floats, specificity: Floats, share: float) -> int:
    """Return the place of the best threshold; they rise, so sensitivity falls.

    Of thresholds that are equally good the first is taken, which calls most cells ALL.
    """
    if rule.kind == "sensitivity":  # the first threshold calls everything ALL, and always does
        return int(np.flatnonzero(sensitivity >= rule.value)[-1])
    if rule.kind == "specificity":  # the last one calls nothing ALL, and always does
        return int(np.flatnonzero(specificity >= rule.value)[0])
    if rule.kind == "cost":
        missed, alarms = share * (1 - sensitivity), (1 - share) * (1 - specificity)
        return int(np.round(rule.value * missed + alarms, 12).argmin())
    return int(np.round(sensitivity + specificity, 12).argmax())
