"""The page that sets recipes and protocols side by side: the gap is its message."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError
from blastscope.evaluation.result import read_metrics
from blastscope.io.files import write_text
from blastscope.report.html import picture_uri, render, svg_uri
from blastscope.report.plots import gap_figure, save

METRICS = {"weighted_f1": "weighted F1", "auc": "AUC"}


@dataclass(frozen=True)
class Entry:
    """One evaluated run.

    Attributes:
        recipe: the recipe's title, the same for each protocol it was run under.
        protocol: ``image`` or ``subject``.
        run: the run folder, with its ``metrics.json`` and ``report.html``.
    """

    recipe: str
    protocol: str
    run: Path


@dataclass(frozen=True)
class RecipeRow:
    """A recipe's test figures under each protocol, by metric, and their gap (subject - image)."""

    recipe: str
    scores: Mapping[str, Mapping[str, float | None]]
    links: Mapping[str, str]

    def gap(self, metric: str) -> float | None:
        """How far the subject-disjoint figure lies above the image-level one, mostly below 0."""
        image, subject = (self.scores.get(p, {}).get(metric) for p in ("image", "subject"))
        return None if image is None or subject is None else subject - image


def write_comparison(
    entries: Sequence[Entry],
    out: Path,
    *,
    heading: str,
    synthetic: bool,
    facts: Sequence[tuple[str, str]] = (),
    pictures: Sequence[tuple[str, NDArray[np.uint8]]] = (),
) -> Path:
    """Write one page that compares evaluated runs by recipe and protocol, on their test cells.

    Args:
        entries: at least one run; a recipe and protocol at most once.
        out: the HTML file to write; links to the runs' reports are relative to it.
        heading: the page's title.
        synthetic: whether the cells are synthetic; also taken to be so where any run says so.
        facts: (name, value) pairs about the data.
        pictures: (caption, RGB picture as uint8 of shape (height, width, 3)) of example cells.

    Returns:
        ``out``.

    Raises:
        BlastscopeError: where a run is not evaluated or has no test part, or ``out`` cannot be
            written.
    """
    metrics = [_test_metrics(entry) for entry in entries]
    rows = _rows(entries, metrics, out.parent)
    page = render(
        "comparison.html",
        title=heading,
        synthetic=synthetic or any(content["synthetic"] for content in metrics),
        protocols=list(dict.fromkeys(entry.protocol for entry in entries)),
        metric_names=METRICS,
        rows=rows,
        meaning=_meaning(rows),
        figure=_figure_uri(rows),
        parts=_counts(entries, metrics),
        facts=facts,
        pictures=[(caption, picture_uri(rgb)) for caption, rgb in pictures],
    )
    write_text(out, page)
    return out


def _test_metrics(entry: Entry) -> dict[str, Any]:
    content = read_metrics(entry.run / "metrics.json")
    if "test" not in content["parts"]:
        raise BlastscopeError(f"{entry.run} has no figures for test cells: evaluate its test part.")
    return content


def _rows(
    entries: Sequence[Entry], metrics: Sequence[Mapping[str, Any]], base: Path
) -> list[RecipeRow]:
    rows: dict[str, RecipeRow] = {}
    for entry, content in zip(entries, metrics, strict=True):
        row = rows.setdefault(entry.recipe, RecipeRow(entry.recipe, {}, {}))
        if entry.protocol in row.scores:
            raise BlastscopeError(
                f"'{entry.recipe}' is there twice under the protocol '{entry.protocol}': give each "
                "recipe and protocol once."
            )
        scores = {name: content["parts"]["test"][name] for name in METRICS}
        path = os.path.relpath(entry.run / "report.html", base)
        rows[entry.recipe] = RecipeRow(
            entry.recipe,
            {**row.scores, entry.protocol: scores},
            {**row.links, entry.protocol: quote(Path(path).as_posix())},
        )
    return list(rows.values())


def _meaning(rows: Iterable[RecipeRow]) -> str:
    """Say what the gap in weighted F1 means, in the words that its sign allows."""
    gaps = [round(-gap, 3) for row in rows if (gap := row.gap("weighted_f1")) is not None]
    if not gaps:
        return "No recipe was run under both protocols, so there is no gap to read."
    low, high = f"{min(gaps):.3f}", f"{max(gaps):.3f}"
    if min(gaps) > 0:
        span = low if low == high else f"{low} to {high}"
        return (
            f"The image-level figure is higher by {span} weighted F1: it tests on "
            "cells of subjects that the network has seen, so it promises more than an unseen "
            "patient gets."
        )
    return (
        f"The gap in weighted F1 (image-level minus subject-disjoint) runs from {low} to {high}: "
        "on these subjects the image-level figure does not flatter every recipe, yet only the "
        "subject-disjoint figure speaks of unseen patients."
    )


def _figure_uri(rows: Sequence[RecipeRow]) -> str | None:
    if all(row.gap("weighted_f1") is None for row in rows):
        return None
    pairs = [
        (
            row.recipe,
            {
                title: (
                    row.scores.get("image", {}).get(metric),
                    row.scores.get("subject", {}).get(metric),
                )
                for metric, title in METRICS.items()
            },
        )
        for row in rows
    ]
    with TemporaryDirectory() as folder:
        return svg_uri(save(gap_figure(pairs), Path(folder), "gap"))


def _counts(
    entries: Sequence[Entry], metrics: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, int, int, int | None]]:
    """Rows of (protocol, part, ALL cells, normal cells, subjects), one set per protocol."""
    found: dict[tuple[str, str], tuple[str, str, int, int, int | None]] = {}
    for entry, content in zip(entries, metrics, strict=True):
        for part, m in content["parts"].items():
            row = (entry.protocol, part, m["tp"] + m["fn"], m["tn"] + m["fp"], m["n_subjects"])
            found.setdefault((entry.protocol, part), row)
    return list(found.values())
