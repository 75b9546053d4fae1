"""The page of the demonstration: each recipe under both splits, and the gap between them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError
from blastscope.evaluation.result import read_metrics
from blastscope.io.files import write_text
from blastscope.report.html import picture_uri, render, svg_uri
from blastscope.report.style import INK, QUIET, drawable, name_rows, save, styled
from blastscope.report.text import number, signed

SHOWN = {"weighted_f1": "weighted F1", "auc": "AUC"}


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
    """A recipe: its metrics and the link to its report by protocol."""

    recipe: str
    scores: dict[str, Mapping[str, float | None]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def both(self, metric: str) -> tuple[float | None, float | None]:
        """Return the image-level and the subject-disjoint metric."""
        image, subject = (self.scores.get(p, {}).get(metric) for p in ("image", "subject"))
        return image, subject

    def gap(self, metric: str) -> float | None:
        """Return the subject-disjoint minus the image-level metric, mostly below 0."""
        image, subject = self.both(metric)
        return None if image is None or subject is None else subject - image


def write_demo(
    entries: Sequence[Entry],
    out: Path,
    *,
    heading: str,
    synthetic: bool,
    facts: Sequence[tuple[str, str]] = (),
    files: Sequence[tuple[str, str]] = (),
    pictures: Sequence[tuple[str, NDArray[np.uint8]]] = (),
) -> Path:
    """Write one page that compares evaluated runs by recipe and protocol, on their test cells.

    Args:
        entries: at least one run; a recipe and protocol at most once.
        out: the HTML file to write; links to the runs' reports are relative to it.
        heading: the page's title.
        synthetic: whether the cells are synthetic; also taken to be so if any run says so.
        facts: (name, value) pairs about the data.
        files: (address from the page, what it is) pairs of further files that were made.
        pictures: (caption, RGB picture as uint8 of shape (height, width, 3)) of example cells.

    Raises:
        BlastscopeError: if a run is not evaluated or has no test part, or ``out`` cannot be
            written.
    """
    metrics = [_test_metrics(entry) for entry in entries]
    rows = _rows(entries, metrics, out.parent)
    page = render(
        "demo.html",
        title=heading,
        synthetic=synthetic or any(content["synthetic"] for content in metrics),
        protocols=list(dict.fromkeys(entry.protocol for entry in entries)),
        headline=SHOWN,
        rows=rows,
        meaning=_meaning(rows),
        figure=_plot_uri(rows),
        parts=_counts(entries, metrics),
        facts=facts,
        files=files,
        pictures=[(caption, picture_uri(rgb)) for caption, rgb in pictures],
    )
    write_text(out, page)
    return out


def _test_metrics(entry: Entry) -> dict[str, Any]:
    content = read_metrics(entry.run / "metrics.json")
    if "test" not in content["parts"]:
        raise BlastscopeError(f"{entry.run} has no metrics of test cells: evaluate its test part.")
    return content


def _rows(
    entries: Sequence[Entry], metrics: Sequence[Mapping[str, Any]], base: Path
) -> list[RecipeRow]:
    rows: dict[str, RecipeRow] = {}
    for entry, content in zip(entries, metrics, strict=True):
        row = rows.setdefault(entry.recipe, RecipeRow(entry.recipe))
        if entry.protocol in row.scores:
            raise BlastscopeError(
                f"'{entry.recipe}' is given twice under the protocol '{entry.protocol}': give each "
                "recipe and protocol once."
            )
        row.scores[entry.protocol] = {name: content["parts"]["test"][name] for name in SHOWN}
        path = Path(os.path.relpath(entry.run / "report.html", base))
        row.links[entry.protocol] = quote(path.as_posix())
    return list(rows.values())


def _meaning(rows: Iterable[RecipeRow]) -> str:
    """Write what the gap in weighted F1 means, with the sign that it has in table and plot."""
    gaps = [round(gap, 3) for row in rows if (gap := row.gap("weighted_f1")) is not None]
    if not gaps:
        return "No recipe was run under both splits, so there is no gap."
    if max(gaps) < 0:
        low, high = number(-max(gaps), 3), number(-min(gaps), 3)
        span = low if low == high else f"{low} to {high}"
        return (
            f"Weighted F1 is {span} higher on the image-level split, which tests on cells of "
            "subjects that the network was trained on. For unseen subjects use the "
            "subject-disjoint split."
        )
    low, high = signed(min(gaps), 3), signed(max(gaps), 3)
    span = low if low == high else f"{low} to {high}"
    return (
        f"The gap in weighted F1 (subject-disjoint minus image-level) is {span}: the "
        "image-level split is not higher for every recipe here. Only the subject-disjoint split "
        "applies to unseen subjects."
    )


def _plot_uri(rows: Sequence[RecipeRow]) -> str | None:
    if all(row.gap("weighted_f1") is None for row in rows):
        return None
    pairs = [
        (row.recipe, {title: row.both(metric) for metric, title in SHOWN.items()}) for row in rows
    ]
    with TemporaryDirectory() as folder:
        return svg_uri(save(gap_plot(pairs), Path(folder), "gap"))


def _counts(
    entries: Sequence[Entry], metrics: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, int, int, int | None]]:
    """Return rows of (protocol, part, ALL cells, normal cells, subjects), each part once."""
    found: dict[tuple[str, str], tuple[str, str, int, int, int | None]] = {}
    for entry, content in zip(entries, metrics, strict=True):
        for part, m in content["parts"].items():
            row = (entry.protocol, part, m["tp"] + m["fn"], m["tn"] + m["fp"], m["n_subjects"])
            found.setdefault((entry.protocol, part), row)
    return list(found.values())


@styled
def gap_plot(
    rows: Sequence[tuple[str, Mapping[str, tuple[float | None, float | None]]]],
) -> Figure:
    """Plot each recipe's metrics, (image-level, subject-disjoint) by name, a panel a metric."""
    figure = Figure(figsize=(7.8, 1.15 + 0.42 * len(rows)), layout="constrained")
    panels = list(rows[0][1])
    for axes, metric in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for at, (_, scores) in enumerate(rows):
            _plot_gap(axes, at, *scores[metric])
        first = metric == panels[0]
        name_rows(axes, [drawable(name) if first else "" for name, _ in rows])
        axes.set_title(metric)
        axes.margins(x=0.12)
    marks = [
        Line2D([], [], marker="o", color=INK, linestyle="", label="subject-disjoint"),
        Line2D([], [], marker="o", color=INK, linestyle="", label="image-level", mfc="white"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=2)
    return figure


def _plot_gap(axes: Axes, row: int, image: float | None, subject: float | None) -> None:
    if image is not None and subject is not None:
        axes.plot([image, subject], [row, row], color=QUIET, linewidth=1.4)
        axes.annotate(
            signed(subject - image, 3), ((image + subject) / 2, row), (0, 4), ha="center",
            textcoords="offset points", fontsize=8, color=QUIET,
        )  # fmt: skip
    if image is not None:
        axes.plot(image, row, "o", color=INK, markerfacecolor="white", markersize=7)
    if subject is not None:
        axes.plot(subject, row, "o", color=INK, markersize=7)
