"""The model card: a report's first page as Markdown, to travel with the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blastscope import DISCLAIMER, __version__
from blastscope.report.text import DASH, HEADLINE, interval, number, protocol_name

if TYPE_CHECKING:
    from blastscope.report.first_page import ReportedEvaluation

CITATION = (
    "Where the cells are of C-NMC 2019, cite: A. Gupta and R. Gupta, C-NMC 2019, The Cancer "
    "Imaging Archive, doi 10.7937/tcia.2019.dc64i46r, CC BY 3.0."
)


def model_card(found: ReportedEvaluation) -> str:
    """Write a model's card (Mitchell et al., Model Cards for Model Reporting, FAT* 2019).

    Args:
        found: the evaluation, with what stands on its first page.

    Returns:
        Markdown: intended use, the figures with their intervals, and the first page's sentences.
    """
    from blastscope.report.first_page import first_page  # a bundle's card needs no figures

    lines = [f"# {plain(found.model)}", "", f"**{DISCLAIMER}**", ""]
    if found.synthetic:
        lines += [
            "**Synthetic cells: nothing here says anything about real cells or patients.**",
            "",
        ]
    lines += [
        "Tells B-cell lymphoblasts (acute lymphoblastic leukaemia, ALL) from normal white blood "
        "cells, one segmented cell an image. For research on such images; not for decisions about "
        "patients.",
        "",
        f"Judged on {found.part} cells, {protocol_name(found.protocol)}, ALL where p > 0.5."
        + (f" Weights: `{found.checkpoint}`." if found.checkpoint else ""),
        "",
        "| figure | value | 95 % interval |",
        "|---|--:|--:|",
        *(_row(found, key, name) for key, name in HEADLINE.items()),
        "",
        f"Intervals: {plain(found.intervals.sentence)}",
        "",
    ]
    for word, sentence in first_page(found):
        lines += [f"**{word}.** {plain(sentence)}", ""]
    if not found.synthetic:
        lines += [CITATION, ""]
    return "\n".join([*lines, f"Made by blastscope {__version__}.", ""])


def _row(found: ReportedEvaluation, key: str, name: str) -> str:
    value, bounds = found.metrics[key], found.intervals.bounds.get(key)
    return f"| {name} | {number(value)} | {interval(bounds) or DASH} |"


def plain(text: str) -> str:
    """Keep names that a user chose from being read as Markdown or HTML."""
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
