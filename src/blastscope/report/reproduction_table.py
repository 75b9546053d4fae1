"""The main table of a reproduction, as words: the same for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from blastscope.report.reproduction_data import Experiment
from blastscope.report.reproduction_settings import size_note
from blastscope.report.text import number, signed, spread

OTHER_SETTINGS = "other settings"


@dataclass(frozen=True)
class ExperimentRow:
    """One experiment's row.

    Attributes:
        short: the recipe's name without its shelf.
        anchor: the id of the experiment's section on the page.
        section: where the paper has it.
        published: the paper's weighted F1, and the only published figure of the row.
        figures: by protocol, weighted F1, its difference and AUC; a protocol without a run is
            not there.
        absent: by protocol, what is not in the figures and why; empty where all is.
        time: how long a training took.
    """

    short: str
    anchor: str
    title: str
    section: str
    published: str
    figures: Mapping[str, tuple[str, str, str]]
    absent: Mapping[str, str]
    time: str


@dataclass(frozen=True)
class Family:
    """The rows under one heading.

    Attributes:
        name: the heading.
        size: the size of image of its runs, where not the packaged one; else empty.
        rows: an experiment each.
    """

    name: str
    size: str
    rows: Sequence[ExperimentRow]


def table_rows(experiments: Sequence[Experiment], *, synthetic: bool) -> list[Family]:
    """Return the rows under each family's heading.

    Args:
        experiments: in the order of the page.
        synthetic: leaves the published figures out: they are of real cells.
    """
    families = groupby(experiments, key=lambda experiment: experiment.family)
    return [
        Family(name, size_note(members), [_row(member, synthetic) for member in members])
        for name, members in ((name, [*group]) for name, group in families)
    ]


def markdown_table(experiments: Sequence[Experiment], *, synthetic: bool) -> str:
    """Write the rows as GitHub Markdown, a table under each family's heading."""
    head = (
        "| experiment | section | paper's weighted F1 "
        "| image-level weighted F1 | minus the paper's | AUC "
        "| subject-disjoint weighted F1 | minus image-level | AUC | time |\n"
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    blocks = []
    families = table_rows(experiments, synthetic=synthetic)
    for family in families:
        size = [f"Images {family.size}.", ""] if family.size else []
        lines = [_markdown_row(row) for row in family.rows]
        blocks.append("\n".join([f"### {family.name}", "", *size, head, *lines]))
    if any("†" in row.section for family in families for row in family.rows):
        blocks.append("† The paper's text tells only the stage; the figures are from notebooks.")
    return "\n\n".join(blocks) + "\n"


def duration(seconds: float | None) -> str:
    """Write a time for a reader: ``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds is None:
        return number(None)
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def not_run(experiment: Experiment, protocol: str) -> str:
    """Say what of an experiment was not run under a protocol, and why; empty if all was."""
    reasons = experiment.absent.get(protocol, [])
    done = len(experiment.results.get(protocol, []))
    if not reasons:
        return "" if done else "not run: not in this study"
    why = "; ".join(dict.fromkeys(reasons))
    return (
        f"{len(reasons)} of {done + len(reasons)} seeds not run: {why}"
        if done
        else (f"not run: {why}")
    )


def _left_out(experiment: Experiment, protocol: str) -> str:
    """Say what is not in the figures under a protocol: not run, or run with other settings."""
    done = len(experiment.results.get(protocol, []))
    others = done - len(experiment.alike(protocol))
    text = f"{others} of {done} seeds left out: {OTHER_SETTINGS}" if others else ""
    return "; ".join(words for words in (not_run(experiment, protocol), text) if words)


def _row(experiment: Experiment, synthetic: bool) -> ExperimentRow:
    recipe = experiment.recipe
    above = None if synthetic else experiment.above_published()
    unlike = experiment.results.get("image") and not experiment.comparable
    differences = {
        "image": signed(above),
        "subject": OTHER_SETTINGS if unlike else signed(experiment.gap()),
    }
    figures = {
        protocol: (
            spread(experiment.over_seeds(protocol, "weighted_f1"), count=True),
            difference,
            spread(experiment.over_seeds(protocol, "auc"), count=True),
        )
        for protocol, difference in differences.items()
        if experiment.results.get(protocol)
    }
    return ExperimentRow(
        short=experiment.short,
        anchor=experiment.anchor,
        title=recipe.title,
        section=section(experiment),
        published=number(None if synthetic else experiment.published("weighted_f1")),
        figures=figures,
        absent={protocol: _left_out(experiment, protocol) for protocol in differences},
        time=_time(experiment),
    )


def section(experiment: Experiment) -> str:
    """Say where the paper has an experiment; a dash where it has none."""
    paper = experiment.recipe.paper
    if paper is None:
        return number(None)
    return paper.section if paper.printed else f"{paper.section}\N{NO-BREAK SPACE}†"


def _time(experiment: Experiment) -> str:
    """Write the mean over runs of the same settings; several where settings differ."""
    means = []
    for group in experiment.by_settings():
        known = [result.seconds for result in group if result.seconds is not None]
        means.append(fmean(known) if known else None)
    return " or ".join(dict.fromkeys(duration(mean) for mean in means or [None]))


def _markdown_row(row: ExperimentRow) -> str:
    cells = [f"`{row.short}` {row.title}", row.section, row.published]
    for protocol, absent in row.absent.items():
        figures = row.figures.get(protocol)
        f1, *rest = figures or ("", number(None), number(None))
        cells += [", ".join(text for text in (f1, absent) if text), *rest]
    return "| " + " | ".join(_escaped(cell) for cell in [*cells, row.time]) + " |"


def _escaped(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())
