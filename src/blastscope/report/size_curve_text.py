"""The same cells, smaller and larger, in words and as a table: on a page, a card and the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from blastscope.report.text import counted, number, percent

if TYPE_CHECKING:
    from blastscope.bundle.manifest import SizeCurve, SizeStepEntry
    from blastscope.robustness.counterfactual_size import SizeStep


def enlarged_text(steps: Sequence[SizeStep] | Sequence[SizeStepEntry]) -> str:
    """Write what happens if normal cells are enlarged, and if ALL cells are resampled too."""
    unchanged = next(one for one in steps if one.factor == 1)
    largest = steps[-1]
    return (
        f"If the normal cells are enlarged {largest.factor:g} times and the ALL cells stay, mean "
        f"AUC over normal subjects goes from {number(unchanged.auc, 3)} to "
        f"{number(largest.auc, 3)}, and the share of normal cells called ALL from "
        f"{percent(unchanged.normal_called_all)} to {percent(largest.normal_called_all)}."
        f"{_resampled_text(steps)}"
    )


def _resampled_text(steps: Sequence[SizeStep] | Sequence[SizeStepEntry]) -> str:
    """Write the fall of AUC between cells that are all resampled; empty if it is not known."""
    largest = steps[-1]
    first = next((one for one in steps if one.factor == one.all_factor), None)
    if first is None or first == largest:
        return ""
    return (
        " But a cell that changes in size is resampled, which blurs it, and in this comparison "
        "only the normal cells are resampled. With the ALL cells resampled too (enlarged "
        f"{first.factor:g} times), AUC goes from "
        f"{number(first.auc_resampled, 3)} (normal cells × {first.factor:g}) to "
        f"{number(largest.auc_resampled, 3)} (× {largest.factor:g})."
    )


def size_text(curve: SizeCurve) -> str:
    """Write a curve's sentence, how to read its table, and of how many subjects it is."""
    sampling = curve.sampling
    few = ""
    if sampling["unit"] == "subject":
        few = f" That is of {counted(sampling['counts'].get('hem', 0), 'normal subject')}."
    return f"{enlarged_text(curve.steps)}{few} The last column has the ALL cells changed as well."


def size_columns(curve: SizeCurve) -> tuple[str, ...]:
    """Return the heads of a curve's table."""
    factor = _all_factor(curve)
    resampled = () if factor is None else (f"AUC, ALL cells × {factor:g}",)
    return (
        "size of the cells",
        "AUC, ALL cells as they are",
        *resampled,
        "normal cells called ALL",
        "ALL cells called ALL",
    )


def _all_factor(curve: SizeCurve) -> float | None:
    """Return the factor of the resampled ALL cells; None in bundles of earlier versions."""
    return curve.steps[0].all_factor


def size_rows(curve: SizeCurve) -> list[tuple[str, ...]]:
    """Return the rows of a curve's table, the smallest factor first."""
    resampled = _all_factor(curve) is not None
    return [
        (
            f"× {one.factor:.3g}",
            number(one.auc),
            *((number(one.auc_resampled),) if resampled else ()),
            percent(one.normal_called_all),
            percent(one.all_called_all),
        )
        for one in curve.steps
    ]
