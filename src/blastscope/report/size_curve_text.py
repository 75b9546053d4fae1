"""The same cells, smaller and larger, in words and as a table: on a page, a card and the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from blastscope.report.text import counted, number, percent

if TYPE_CHECKING:
    from blastscope.bundle.manifest import SizeCurve, SizeStepEntry
    from blastscope.robustness.counterfactual_size import SizeStep

SIZE_COLUMNS = (
    "size of the cells",
    "AUC, normal cells changed",
    "normal cells called ALL",
    "ALL cells called ALL",
)


def enlarged_text(steps: Sequence[SizeStep] | Sequence[SizeStepEntry]) -> str:
    """Write what happens if the normal cells are enlarged and the ALL cells stay."""
    unchanged = next(one for one in steps if one.factor == 1)
    largest = steps[-1]
    return (
        f"If the normal cells are enlarged {largest.factor:g} times and the ALL cells stay, mean "
        f"AUC over normal subjects goes from {number(unchanged.auc, 3)} to "
        f"{number(largest.auc, 3)}, and the share of normal cells called ALL from "
        f"{percent(unchanged.normal_called_all)} to {percent(largest.normal_called_all)}."
    )


def size_text(curve: SizeCurve) -> str:
    """Write a curve's sentence, how to read its table, and of how many subjects it is."""
    sampling = curve.sampling
    few = ""
    if sampling["unit"] == "subject":
        few = f" That is of {counted(sampling['counts'].get('hem', 0), 'normal subject')}."
    return (
        f"{enlarged_text(curve.steps)}{few} For the AUC only the normal cells change in size; the "
        "last column has the ALL cells changed as well. A cell that changes is resampled, which "
        "blurs it a little."
    )


def size_rows(curve: SizeCurve) -> list[tuple[str, str, str, str]]:
    """Return the rows of a curve's table, the smallest factor first."""
    return [
        (
            f"× {one.factor:.3g}",
            number(one.auc),
            percent(one.normal_called_all),
            percent(one.all_called_all),
        )
        for one in curve.steps
    ]
