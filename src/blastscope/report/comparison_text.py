"""What a comparison's figures come to, in words that say no more than they do."""

from __future__ import annotations

from blastscope.evaluation.comparison_result import Comparison, ModelPair
from blastscope.evaluation.few_subjects import FEW_SUBJECTS
from blastscope.report.text import LEVEL, counted, interval, number, p_value


def verdict(pair: ModelPair, comparison: Comparison) -> str:
    """Say which of two models is ahead, by how much, and whether that may be noise.

    The paired interval of weighted F1 decides; McNemar's test, corrected for the number of pairs,
    can only make a lead less sure, because it takes cells of one person for independent.
    """
    led = pair.led()
    if led.alike:
        return f"{led.first} and {led.second} call every cell alike."
    lead = led.weighted_f1
    start = f"{led.first} is ahead of {led.second} by {_small(lead.value)} weighted F1"
    if lead.value == 0:
        start = f"{led.first} and {led.second} have the same weighted F1"
    net = _net(led.only_first - led.only_second, comparison.cells)
    return f"{start} ({net}), 95 % interval {interval(lead, 4)}: {_judgement(led, comparison)}."


def _judgement(led: ModelPair, comparison: Comparison) -> str:
    unlikely = led.mcnemar_p_holm <= LEVEL
    tests = len(comparison.pairs)
    corrected = f", corrected for {tests} pairs" if tests > 1 else ""
    p = f"{p_value(led.mcnemar_p_holm)}{corrected}"
    if led.weighted_f1.above_zero:
        if not unlikely:
            return (
                "at the edge of noise, since the interval leaves out zero but McNemar's exact test "
                f"of the calls ({p}) does not tell the two apart"
            )
        return _lead(comparison)
    if unlikely:
        return (
            f"no more than noise may give, though McNemar's exact test of the calls ({p}), which "
            "takes all cells for independent and counts no F1, tells the two apart"
        )
    return "no more than noise may give"


def _lead(comparison: Comparison) -> str:
    """Say what a lead stands on: many subjects, a few, or only the cells of some."""
    fewest = comparison.fewest
    if fewest is None:
        return (
            "more than the draw of cells is likely to give; how persons differ is not in the "
            "interval"
        )
    if fewest == 1:
        return (
            "more than these draws are likely to give; whether it holds for other persons cannot "
            "be told, with one subject of a class"
        )
    if fewest <= FEW_SUBJECTS:
        return (
            "more than the draw of these subjects is likely to give, but with "
            f"{fewest} of a class such intervals hold the truth less often than they say"
        )
    return "more than the draw of subjects is likely to give"


def headline(comparison: Comparison) -> str:
    """Say which model is best, whether the next is really behind it, and how many are not."""
    if len(comparison.models) == 2 and comparison.pairs:
        return verdict(comparison.pairs[0], comparison)
    ranked = sorted(
        comparison.models, key=lambda name: -comparison.estimates[name]["weighted_f1"].value
    )
    best = ranked[0]
    score = comparison.estimates[best]["weighted_f1"]
    told = (
        f"Of {len(ranked)} models {best} has the highest weighted F1 on the {comparison.part} "
        f"cells, {score.value:.4f} (95 % interval {interval(score, 4)})."
    )
    with_best = {
        pair.led().second if pair.led().first == best else pair.led().first: pair.led()
        for pair in comparison.pairs
        if best in (pair.first, pair.second)
    }
    if len(ranked) > 1 and ranked[1] in with_best:
        told += f" {verdict(with_best[ranked[1]], comparison)}"
    if len(with_best) > 1:
        behind = sum(_ahead(pair) for pair in with_best.values())
        told += f" {_behind(behind, len(with_best))}"
    return told


def _ahead(pair: ModelPair) -> bool:
    """Whether neither the interval nor the test leaves a lead within noise."""
    return pair.weighted_f1.above_zero and pair.mcnemar_p_holm <= LEVEL


def _behind(behind: int, others: int) -> str:
    return (
        f"Its lead passes for more than noise against {behind or 'none'} of the {others} others, "
        "on the cells that chose it as the best."
    )


def _net(net: int, cells: int) -> str:
    if net == 0:
        return f"as many cells right of {cells:,}"
    more = "more" if net > 0 else "fewer"
    return f"{counted(abs(net), f'{more} cell')} right of {cells:,}"


def _small(value: float) -> str:
    return "less than 0.0001" if value < 0.00005 else number(value)
