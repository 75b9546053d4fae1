"""The plot and the page of a measurement of leakage."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from blastscope.evaluation.leakage import Leakage, compare_out_of_fold
from blastscope.io.files import write_json, write_text
from blastscope.io.workfolder import refuse_foreign
from blastscope.report.evaluation_text import leakage_text, sampling_text
from blastscope.report.html import render, svg_uri
from blastscope.report.style import COLOURS, INK, QUIET, save, styled
from blastscope.report.text import HEADLINE, signed

CONTENT = "leakage.json"


def measure_leakage(recipe: str, known: Path, unseen: Path, out: Path) -> Leakage:
    """Compare the two out-of-fold tables of a recipe, and write the outcome.

    Writes ``leakage.json``, ``figures/leakage.*`` and a self-contained ``report.html``.

    Args:
        recipe: its name, for the page.
        known: the table of folds by cell.
        unseen: the table of folds by subject.
        out: the folder to write to.

    Raises:
        BlastscopeError: if the tables do not fit each other, or the folder is another report's.
    """
    refuse_foreign(out, CONTENT, ["report.html"])
    found = compare_out_of_fold(known, unseen)
    write_json(out / CONTENT, {"recipe": recipe, **found.as_json()})
    plot = save(leakage_figure(found), out / "figures", "leakage")
    page = render(
        "leakage.html",
        title=f"{recipe}: leakage of an image-level split",
        synthetic=found.synthetic,
        found=found,
        answer=leakage_text(found),
        sampling=sampling_text(found.sampling),
        plot=svg_uri(plot),
    )
    write_text(out / "report.html", page)
    return found


@styled
def leakage_figure(found: Leakage) -> Figure:
    """Each metric with the cells' subjects in training and unseen, with 95 % intervals."""
    shown = [name for name in HEADLINE if found.gains[name].difference.known]
    figure = Figure(figsize=(7.4, 0.9 + 0.62 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(shown):
        gain = found.gains[name]
        ends = ((gain.known, -0.14, COLOURS["mixed"]), (gain.unseen, 0.14, INK))
        for estimate, shift, colour in ends:
            place = row + shift
            axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.4)
            axes.plot(estimate.value, place, "o", color=colour, markersize=6)
        axes.annotate(
            signed(gain.difference.value, 3),
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            color=INK,
        )
    axes.set_yticks(range(len(shown)), [HEADLINE[name] for name in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    figure.supxlabel(
        "grey: subjects in training; black: unseen subjects; bars: 95 % intervals; "
        "right: the difference",
        fontsize=8,
        color=QUIET,
    )
    return figure
