"""Calibration: map a network's probabilities to ones that agree with observed shares.

Temperature: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. Platt: Probabilistic
Outputs for Support Vector Machines, 1999. Isotonic: Zadrozny and Elkan, KDD 2002. All of them rise
with the probability that they are given, so that the order of the cells, and AUC, stay. None says
more than the cells show: n cells never show that something is certain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from blastscope.errors import BlastscopeError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

EDGE = 1e-6
"""A probability of 0 or 1 has no log-odds: it is taken as this far from it."""
_RISE = {"temperature": 1e-6, "platt": 1e-6, "isotonic": 1e-3}
"""The share of a probability that each map keeps as it is, so that no two cells become equal: on
the steps of an isotonic map, nor beyond ``EDGE``."""
COLDEST, HOTTEST = 0.01, 20.0
"""A temperature, or one divided by Platt's slope, outside of these is not taken. Above 20 the
surest cell that can be written (``EDGE``) would have odds below 2 to 1, so that the probabilities
say next to nothing. Below 0.01 the differences between two machines (1e-4) become 1e-2."""


@dataclass(frozen=True)
class Calibration:
    """A map from probabilities to calibrated ones.

    Attributes:
        method: ``none``, ``temperature``, ``platt`` or ``isotonic``.
        values: temperature: the temperature. Platt: slope and intercept of the log-odds. Isotonic:
            the points' probabilities and, behind them, what each becomes.
    """

    method: str = "none"
    values: tuple[float, ...] = ()

    def apply(self, p_all: Floats) -> Floats:
        """Calibrate probabilities of ALL, of any shape."""
        p = np.asarray(p_all, np.float64)
        if self.method == "none":
            return p
        as_it_is = _RISE[self.method]
        return (1 - as_it_is) * self._mapped(p) + as_it_is * p

    def _mapped(self, p: Floats) -> Floats:
        if self.method == "isotonic":
            points, becomes = np.split(np.array(self.values), 2)
            stepped: Floats = np.interp(p, points, becomes)
            return stepped
        if self.method == "platt":
            slope, intercept = self.values
            return _inside(expit(slope * log_odds(p) + intercept))
        return _inside(expit(log_odds(p) / self.values[0]))

    @classmethod
    def from_json(cls, content: Any, where: str) -> Calibration:
        """Read what :func:`dataclasses.asdict` made of one.

        Raises:
            BlastscopeError: if it is not one, or would not rise.
        """
        try:
            method, values = str(content["method"]), tuple(float(v) for v in content["values"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BlastscopeError(
                f"{where} has a damaged calibration: run `blastscope evaluate` again."
            ) from error
        if method not in SHAPES or not SHAPES[method](np.array(values)):
            raise BlastscopeError(
                f"{where} has an unknown calibration '{method}': run `blastscope evaluate` again."
            )
        return cls(method, values)


def _is_isotonic(values: Floats) -> bool:
    if len(values) < 2 or len(values) % 2:
        return False
    points, becomes = np.split(values, 2)
    inside = bool(np.all((values >= 0) & (values <= 1)))
    return inside and bool(np.all(np.diff(points) >= 0) and np.all(np.diff(becomes) >= 0))


SHAPES: dict[str, Callable[[Floats], bool]] = {
    "none": lambda v: len(v) == 0,
    "temperature": lambda v: len(v) == 1 and 0 < v[0] < np.inf,
    "platt": lambda v: len(v) == 2 and bool(np.isfinite(v).all()) and v[0] > 0,
    "isotonic": _is_isotonic,
}
"""For each method, whether values are such that the map rises."""


def log_odds(p_all: Floats) -> Floats:
    """Return the log-odds of probabilities, finite also for 0 and 1."""
    found: Floats = logit(_inside(p_all))
    return found


def _inside(p_all: Floats) -> Floats:
    return np.clip(p_all, EDGE, 1 - EDGE)


def softened(is_all: Bools) -> Floats:
    """Platt's targets: one more cell of each class, on either side."""
    n_all = int(is_all.sum())
    return np.where(is_all, (n_all + 1) / (n_all + 2), 1 / (len(is_all) - n_all + 2))


def fit_temperature(is_all: Bools, p_all: Floats) -> Calibration | None:
    """Divide the log-odds by the one number with the lowest log loss, to Platt's softened targets.

    Without those, cells without one error would be called as certain as can be written. None if the
    temperature is not within ``COLDEST`` to ``HOTTEST``.
    """
    from scipy.optimize import minimize_scalar

    z, target = log_odds(p_all), softened(is_all)

    def loss(heat: float) -> float:
        cooled = z / np.exp(heat)
        return float((np.logaddexp(0, cooled) - target * cooled).mean())

    bounds = (np.log(COLDEST) - 1, np.log(HOTTEST) + 1)  # an optimum beyond is seen as one
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    temperature = float(np.exp(found.x))
    return Calibration("temperature", (temperature,)) if _sensible(temperature) else None


def _sensible(temperature: float) -> bool:
    return COLDEST <= temperature <= HOTTEST


def fit_platt(is_all: Bools, p_all: Floats) -> Calibration | None:
    """Fit slope and intercept of the log-odds to Platt's softened targets.

    None if it falls, or is flatter or steeper than a temperature may be.
    """
    slope, intercept = _logistic(is_all, p_all)
    sensible = slope > 0 and _sensible(1 / slope)
    return Calibration("platt", (slope, intercept)) if sensible else None


def says_nothing(is_all: Bools, p_all: Floats) -> bool:
    """Whether the probabilities say next to nothing of the labels, or the contrary of them."""
    return _logistic(is_all, p_all)[0] < 1 / HOTTEST


def _logistic(is_all: Bools, p_all: Floats) -> tuple[float, float]:
    """Fit slope and intercept of the log-odds to Platt's softened targets."""
    from sklearn.linear_model import LogisticRegression

    z, target = log_odds(p_all)[:, None], softened(is_all)
    both = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    weight = np.concatenate([target, 1 - target])
    both.fit(np.concatenate([z, z]), np.repeat([1, 0], len(z)), sample_weight=weight)
    return float(both.coef_[0, 0]), float(both.intercept_[0])


def fit_isotonic(is_all: Bools, p_all: Floats) -> Calibration:
    """Fit the rising step function with the lowest squared error, kept off 0 and 1.

    No step says less than one in n + 2, nor more than all but one (Laplace): n cells do not show
    that something never happens.
    """
    from sklearn.isotonic import IsotonicRegression

    least = 1 / (len(is_all) + 2)
    steps = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
    steps.fit(p_all, is_all.astype(np.float64))
    points, becomes = steps.X_thresholds_, steps.y_thresholds_
    return Calibration("isotonic", (*map(float, points), *map(float, becomes)))


FITS: dict[str, Callable[[Bools, Floats], Calibration | None]] = {
    "none": lambda is_all, p_all: Calibration(),
    "temperature": fit_temperature,
    "platt": fit_platt,
    "isotonic": fit_isotonic,
}
"""The methods, the plainest first."""


def log_loss(is_all: Bools, p_all: Floats) -> float:
    """Return the mean log loss, with probabilities kept ``EDGE`` off 0 and 1."""
    p = _inside(p_all)
    return float(-np.where(is_all, np.log(p), np.log1p(-p)).mean())
