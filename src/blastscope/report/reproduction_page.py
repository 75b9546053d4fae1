"""Write the page of a reproduction: the paper's own tables, filled in again."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from blastscope.errors import BlastscopeError
from blastscope.io.files import write_text
from blastscope.parallel import duration
from blastscope.report.evaluation_plots import best_epoch
from blastscope.report.html import data_uri, picture_uri, render, render_text, svg_uri
from blastscope.report.one_protocol import HEAD, NOISE, protocol_rows
from blastscope.report.reproduction_summary import (
    PAPER_BALANCED,
    PAPER_PARTS,
    at_reduced_size,
    cells_line,
    chance,
    changed_settings,
    differences,
    environment,
    machines,
    not_run_reasons,
    run_name,
    size_note,
    unlike_settings,
    unlike_weights,
)
from blastscope.report.style import INK, QUIET, one_panel, save, styled
from blastscope.report.text import LEARNING_NAMES, number, protocol_name, signed, spread
from blastscope.reproduction.plan import PROTOCOLS
from blastscope.reproduction.results import (
    DataSection,
    Experiment,
    Outcome,
    RunResult,
    RunWeights,
    read_experiments,
)

OTHER_SETTINGS = "other settings"

TEST = {
    "precision_hem": "precision, normal",
    "precision_all": "precision, ALL",
    "recall_hem": "recall, normal",
    "recall_all": "recall, ALL",
    "weighted_f1": "weighted F1",
    "auc": "AUC",
}
PICTURES = {
    "learning-curves": "Learning curves",
    "confusion-matrix": "Confusion matrix",
    "roc": "ROC curve",
}
MAX_PICTURE_BYTES = 4 * 2**20
Rows = list[tuple[str, str, Sequence[str]]]
"""The rows of one of the paper's tables: name, ``paper``, ``own`` or ``difference``, metrics."""
_MARKS = {
    "paper": {"marker": "D", "color": QUIET, "markerfacecolor": "none", "markersize": 5.5},
    "image": {"marker": "o", "color": INK, "markerfacecolor": "white", "markersize": 5.5},
    "subject": {"marker": "o", "color": INK, "markersize": 5.5},
}
_NAMES = {"paper": "the paper's", "image": "image-level", "subject": "subject-disjoint"}


def write_reproduction(
    outcomes: Sequence[Outcome], data: DataSection, out: Path, *, synthetic: bool, command: str
) -> Path:
    """Write ``report.html`` and ``figures/experiments.*`` into the folder ``out``.

    Args:
        outcomes: every experiment under every protocol and seed that was asked for, run or not.
        data: the cells of the reproduction.
        out: the folder; links to the runs' reports are relative to it.
        synthetic: whether the cells, or those of any run, are synthetic. Then published metrics,
            which are of real cells, are left out.
        command: the command that runs it again.

    Returns:
        ``out``.

    Raises:
        BlastscopeError: if an outcome is listed twice, or a run is not evaluated or not that of its
            outcome, or ``out`` cannot be written.
    """
    experiments = read_experiments(outcomes)
    synthetic = synthetic or _any_synthetic(experiments)
    done = [experiment for experiment in experiments if experiment.was_run]
    sections = [experiment_section(item, out, synthetic=synthetic) for item in done]
    figure = None
    if done:
        drawn = experiments_plot(done, synthetic=synthetic)
        figure = svg_uri(save(drawn, out / "figures", "experiments"))
    page = render(
        "reproduction.html",
        title="The experiments of Baldi and Cioffo, run again",
        synthetic=synthetic,
        families=table_rows(experiments, synthetic=synthetic),
        protocol_head=HEAD,
        protocol_rows=protocol_rows(experiments, synthetic=synthetic),
        noise=NOISE,
        experiments=experiments,
        not_asked=sum(not experiment.is_listed for experiment in experiments),
        done=done,
        asked=len(outcomes),
        trained=sum(outcome.run is not None for outcome in outcomes),
        cells=cells_line(data.splits, synthetic=synthetic),
        reduced=at_reduced_size(done),
        changed=changed_settings(done),
        unlike_weights=unlike_weights(done),
        not_run=not_run_reasons(outcomes),
        differences=differences(done, synthetic),
        chance=chance(done),
        figure=figure,
        sections=sections,
        data=data,
        paper_parts=PAPER_PARTS,
        paper_balanced=PAPER_BALANCED,
        pictures=[(caption, picture_uri(rgb)) for caption, rgb in data.figures],
        command=command,
        machines=machines(done),
        environment=environment(done),
    )
    write_text(out / "report.html", page)
    return out


def results_markdown(outcomes: Sequence[Outcome]) -> str:
    """Write the main table as GitHub Markdown, one table per family, as on the page.

    Raises:
        BlastscopeError: as :func:`write_reproduction`.
    """
    experiments = read_experiments(outcomes)
    synthetic = _any_synthetic(experiments)
    families = table_rows(experiments, synthetic=synthetic)
    rows = protocol_rows(experiments, synthetic=synthetic)
    noted = any("†" in row["section"] for _, _, members in families for row in members)
    return render_text(
        "experiments.md",
        families=families,
        noted=noted,
        not_asked=sum(not experiment.is_listed for experiment in experiments),
        cell=_escaped,
        protocol_head=HEAD,
        protocol_rows=rows,
        noise=NOISE,
    )


def _any_synthetic(experiments: Sequence[Experiment]) -> bool:
    return any(result.synthetic for item in experiments for result in item.all_results)


def table_rows(
    experiments: Sequence[Experiment], *, synthetic: bool
) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Return each family's name, its image size if that is not the packaged one, and its rows.

    Experiments that were neither run nor asked for have no row. ``synthetic`` leaves out the
    published metrics, here and below: they are of real cells.
    """
    listed = [experiment for experiment in experiments if experiment.is_listed]
    families = groupby(listed, key=lambda experiment: experiment.family)
    return [
        (name, size_note(members), [_row(member, synthetic) for member in members])
        for name, members in ((name, [*group]) for name, group in families)
    ]


def not_run(experiment: Experiment, protocol: str) -> str:
    """State what was not run of an experiment under a protocol, and why; empty if all was run."""
    reasons = experiment.absent.get(protocol, [])
    done = len(experiment.results.get(protocol, []))
    if not reasons:
        return "" if done else "not run: not part of this reproduction"
    why = "; ".join(dict.fromkeys(reasons))
    many = f"{len(reasons)} of {done + len(reasons)} seeds " if done else ""
    return f"{many}not run: {why}"


def _left_out(experiment: Experiment, protocol: str) -> str:
    """State what is missing from the metrics: not run, or run with other settings."""
    done = len(experiment.results.get(protocol, []))
    others = done - len(experiment.alike(protocol))
    text = f"{others} of {done} seeds left out: {OTHER_SETTINGS}" if others else ""
    return "; ".join(words for words in (not_run(experiment, protocol), text) if words)


def _row(experiment: Experiment, synthetic: bool) -> dict[str, Any]:
    """Return an experiment's row of the main table.

    By protocol, ``metrics`` has weighted F1, its difference and AUC if there is a run, and
    ``absent`` what is missing and why.
    """
    above = None if synthetic else experiment.above_published()
    unlike = experiment.results.get("image") and not experiment.comparable
    differences = {
        "image": signed(above),
        "subject": OTHER_SETTINGS if unlike else signed(experiment.gap()),
    }
    metrics = {
        protocol: (
            spread(experiment.over_seeds(protocol, "weighted_f1"), count=True),
            difference,
            spread(experiment.over_seeds(protocol, "auc"), count=True),
        )
        for protocol, difference in differences.items()
        if experiment.results.get(protocol)
    }
    return {
        "experiment": experiment,
        "section": section(experiment),
        "published": number(None if synthetic else experiment.published("weighted_f1")),
        "metrics": metrics,
        "absent": {protocol: _left_out(experiment, protocol) for protocol in differences},
        "time": _time(experiment),
    }


def section(experiment: Experiment) -> str:
    """Name the section of the paper that has an experiment; a dash if none has."""
    paper = experiment.recipe.paper
    if paper is None:
        return number(None)
    return paper.section if paper.printed else f"{paper.section}\N{NO-BREAK SPACE}†"


def _time(experiment: Experiment) -> str:
    """Write the mean time of runs with the same settings; several if settings differ."""
    means = []
    for group in experiment.by_settings():
        known = [result.seconds for result in group if result.seconds is not None]
        means.append(fmean(known) if known else None)
    texts = (number(None) if mean is None else duration(mean) for mean in means or [None])
    return " or ".join(dict.fromkeys(texts))


def _escaped(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())


def experiment_section(experiment: Experiment, base: Path, *, synthetic: bool) -> dict[str, Any]:
    """Collect what the page shows of an experiment that was run: the first seed of each protocol.

    Links are relative to ``base``, the folder of the page.

    Raises:
        BlastscopeError: if a plot of a run cannot be read.
    """
    first = {name: result for name in PROTOCOLS if (result := experiment.first(name))}
    networks = (result.notes.network for result in first.values())
    return {
        "experiment": experiment,
        "tables": [
            (names.values(), _table(names, experiment, first, synthetic))
            for names in (LEARNING_NAMES, TEST)
        ],
        "pictures": [(protocol_name(name), _pictures(result)) for name, result in first.items()],
        "network": next((network for network in networks if network), None),
        "settings": unlike_settings(experiment),
        "weights": _initial_weights(experiment),
        "links": [(run_name(result), _link(result, base)) for result in experiment.all_results],
    }


def _table(
    names: Mapping[str, str],
    experiment: Experiment,
    first: Mapping[str, RunResult],
    synthetic: bool,
) -> Rows:
    published = {key: None if synthetic else experiment.published(key) for key in names}
    found = {protocol: _metrics(result) for protocol, result in first.items()}
    rows: Rows = []
    if any(value is not None for value in published.values()):
        # The paper gives the AUC on its plots, with two digits.
        texts = [number(v, 2 if key == "auc" else 4) for key, v in published.items()]
        rows.append(("the paper", "paper", texts))
    for protocol, own in found.items():
        rows.append((run_name(first[protocol]), "own", [number(own.get(key)) for key in names]))
    if rows and rows[0][1] == "paper" and "image" in found:
        rows.append(_difference("image-level minus the paper", names, found["image"], published))
    if experiment.comparable and first["image"].seed == first["subject"].seed:
        text = "subject-disjoint minus image-level"
        rows.append(_difference(text, names, found["subject"], found["image"]))
    return rows


def _metrics(result: RunResult) -> dict[str, float | None]:
    """Return test metrics, and loss and accuracy at the epoch of the lowest validation loss."""
    best = best_epoch(result.notes.history) if result.notes.history is not None else None
    return {**result.test, **(best or {})}


def _difference(
    name: str,
    keys: Mapping[str, str],
    first: Mapping[str, float | None],
    second: Mapping[str, float | None],
) -> tuple[str, str, Sequence[str]]:
    texts = []
    for key in keys:
        a, b = first.get(key), second.get(key)
        texts.append(signed(None if a is None or b is None else a - b))
    return name, "difference", texts


def _initial_weights(experiment: Experiment) -> list[tuple[RunWeights, str]]:
    began: dict[RunWeights, list[str]] = {}
    for result in experiment.all_results:
        if result.initial_weights is not None:
            began.setdefault(result.initial_weights, []).append(run_name(result))
    everyone = len(experiment.all_results)
    return [
        (weights, "" if len(names) == everyone else "; ".join(names))
        for weights, names in began.items()
    ]


def _pictures(result: RunResult) -> list[tuple[str, str]]:
    paths = {name: result.run / "figures" / f"{name}.png" for name in PICTURES}
    return [(PICTURES[name], _small_png(path)) for name, path in paths.items() if path.is_file()]


def _small_png(path: Path) -> str:
    """Inline a plot in few colours: a third of its bytes, a fifth of those of its SVG.

    A page of sixty experiments under two protocols has 360 plots.
    """
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise BlastscopeError(
                f"{path} is too large for a plot of an evaluation: evaluate its run again."
            )
        with Image.open(io.BytesIO(path.read_bytes()), formats=["PNG"]) as picture:
            method = Image.Quantize.FASTOCTREE
            small = picture.convert("RGB").quantize(48, method, dither=Image.Dither.NONE)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BlastscopeError(
            f"{path} is not an image ({error}): evaluate its run again."
        ) from error
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return data_uri(buffer.getvalue(), "image/png")


def _link(result: RunResult, base: Path) -> str:
    return quote(Path(os.path.relpath(result.run / "report.html", base)).as_posix())


@styled
def experiments_plot(experiments: Sequence[Experiment], *, synthetic: bool) -> Figure:
    """Plot weighted F1, one row per experiment with a result, under a heading for each family.

    Seeds are averaged, and the two protocols joined by a line if their settings are the same.
    """
    names: list[str] = []
    drawn: list[tuple[int, dict[str, float]]] = []
    joined: set[int] = set()
    headings: list[int] = []
    for family, members in groupby(experiments, key=lambda experiment: experiment.family):
        headings.append(len(names))
        names.append(family)
        for experiment in members:
            drawn.append((len(names), _points(experiment, synthetic)))
            if experiment.comparable:
                joined.add(len(names))
            names.append(experiment.short)
    figure, axes = one_panel(7.8, 1.0 + 0.2 * len(names))
    for row, points in drawn:
        _plot(axes, row, points, row in joined)
    _label(axes, names, headings)
    shown = [kind for kind in _MARKS if any(kind in points for _, points in drawn)]
    marks = [Line2D([], [], linestyle="", label=_NAMES[k], **_MARKS[k]) for k in shown]  # type: ignore[arg-type]
    figure.legend(handles=marks, loc="outside upper center", ncols=3)
    return figure


def _points(experiment: Experiment, synthetic: bool) -> dict[str, float]:
    found = {
        protocol: spread.mean
        for protocol in ("image", "subject")
        if (spread := experiment.over_seeds(protocol, "weighted_f1"))
    }
    published = None if synthetic else experiment.published("weighted_f1")
    return found if published is None else {"paper": published, **found}


def _plot(axes: Axes, row: int, points: dict[str, float], joined: bool) -> None:
    if joined:
        axes.plot(
            [points["image"], points["subject"]], [row, row], color=QUIET, linewidth=1.4, zorder=1
        )
    for kind, value in points.items():
        axes.plot(value, row, linestyle="", zorder=2, **_MARKS[kind])  # type: ignore[arg-type]


def _label(axes: Axes, names: Sequence[str], headings: Sequence[int]) -> None:
    axes.set_yticks(range(len(names)), [name[:40] for name in names])
    for at, label in enumerate(axes.get_yticklabels()):
        if at in headings:
            label.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labeltop=len(names) > 24)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="weighted F1 on test cells")
    axes.margins(x=0.06)
    for at in headings:
        axes.axhline(at - 0.5, color=QUIET, linewidth=0.6)
