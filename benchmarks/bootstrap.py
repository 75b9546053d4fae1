"""Intervals of every metric by drawing subjects, against scikit-learn in a loop.

Rival: for each resample subjects of each class are drawn, their cells gathered, and every metric
computed by scikit-learn; it is run for a few resamples and scaled up. Limit: drawing the weights
and adding up those of each cell's call and rank once, and nothing else. Both are first held
against each other on the same draws.

    python benchmarks/bootstrap.py [--resamples 10000] [--cells 10000] [--timed 20]

The probabilities are drawn, as are the sizes of the subjects: no picture is wanted here.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import in_turn, machine, table
from numpy.typing import NDArray

from blastscope.evaluation.bootstrap import Resampling, resampling
from blastscope.evaluation.confidence_intervals import intervals
from blastscope.evaluation.metrics import compute_metrics
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics

SUBJECTS = 73  # as C-NMC has in training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--timed", type=int, default=20, help="resamples of the plain loop")
    asked = parser.parse_args()
    is_all, p_all, subjects = _cells(asked.cells)
    draws = resampling(is_all, subjects, asked.resamples)
    off = _difference(is_all, p_all, draws, asked.timed)
    began = time.perf_counter()
    _plain(is_all, p_all, draws, asked.timed)
    plain = (time.perf_counter() - began) / asked.timed * asked.resamples
    found = in_turn(
        {
            "ours": lambda: intervals(is_all, p_all, subjects, asked.resamples),
            "limit": lambda: _limit(p_all, draws),
        }
    )
    ours, limit = found["ours"].seconds, found["limit"].seconds
    print(machine("numpy", "scikit-learn"))
    table(
        f"Bootstrap over {SUBJECTS} subjects: {asked.resamples:,} resamples of {asked.cells:,} "
        f"cells, {len(METRICS)} metrics",
        ["", "seconds", "ahead of the loop by"],
        [
            ["scikit-learn in a loop *", f"{plain:,.0f}", ""],
            ["`evaluate`'s intervals, corrected", f"{ours:.2f}", f"{plain / ours:,.0f}×"],
            ["draws and two running sums alone", f"{limit:.2f}", f"{plain / limit:,.0f}×"],
        ],
        f"* {asked.timed} resamples timed and scaled up. The rest: the best of three. The largest "
        f"difference of any metric on the same draws: {off:.1e}",
    )


def _cells(cells: int) -> tuple[NDArray[np.bool_], NDArray[np.float64], list[str]]:
    """Draw cells of subjects of uneven sizes, two thirds of them ALL, one in ten misjudged."""
    rng = np.random.default_rng(24)
    share = rng.lognormal(0, 1, SUBJECTS)
    of = rng.choice(SUBJECTS, cells, p=share / share.sum())
    is_all = (np.arange(SUBJECTS) < SUBJECTS * 2 // 3)[of]
    p_all = 1 / (1 + np.exp(-(rng.normal(1.3, 1, cells) * np.where(is_all, 1, -1))))
    return is_all, p_all, [f"S{k}" for k in of]


def _plain(
    is_all: NDArray[np.bool_], p_all: NDArray[np.float64], draws: Resampling, resamples: int
) -> None:
    rng = np.random.default_rng(24)
    for _ in range(resamples):
        rows = []
        for groups in draws.strata:
            for drawn in rng.integers(0, len(groups), len(groups)):
                rows.extend(groups[drawn])
        compute_metrics(is_all[rows], p_all[rows])


def _difference(
    is_all: NDArray[np.bool_], p_all: NDArray[np.float64], draws: Resampling, resamples: int
) -> float:
    """Compute the same few resamples both ways."""
    weights = next(draws.chunks())[:resamples]
    fast = WeightedMetrics(is_all, p_all[:, None]).of(weights)[:, 0]
    most = 0.0
    for drawn, metrics in zip(weights, fast, strict=True):
        rows = np.repeat(np.arange(len(is_all)), drawn)
        known = compute_metrics(is_all[rows], p_all[rows])
        slow = np.array([known[name] for name in METRICS], float)
        most = max(most, float(np.abs(slow - metrics).max()))
    return most


def _limit(p_all: NDArray[np.float64], draws: Resampling) -> None:
    order = np.argsort(-p_all)
    for weights in draws.chunks():
        for row in weights:
            ranked = row[order]
            ranked.cumsum(dtype=np.int32)
            ranked.sum(dtype=np.int64)


if __name__ == "__main__":
    main()
