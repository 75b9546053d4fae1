"""The page of ``blastscope reproduce``: the paper's own tables, filled in again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blastscope.io.files import write_text
from blastscope.report.html import picture_uri, render, svg_uri
from blastscope.report.plots import save
from blastscope.report.reproduction_data import (
    DataSection,
    Experiment,
    Outcome,
    read_experiments,
)
from blastscope.report.reproduction_overview import (
    PAPER_BALANCED,
    PAPER_PARTS,
    cells_line,
    chance,
    differences,
    environment,
    machines,
    not_run_reasons,
    unlike_weights,
)
from blastscope.report.reproduction_plot import experiments_figure
from blastscope.report.reproduction_sections import experiment_section
from blastscope.report.reproduction_settings import at_reduced_size, changed_settings
from blastscope.report.reproduction_table import markdown_table, table_rows

__all__ = ["DataSection", "Outcome", "results_markdown", "write_reproduction"]


def write_reproduction(
    outcomes: Sequence[Outcome], data: DataSection, out: Path, *, synthetic: bool, command: str
) -> Path:
    """Write ``report.html`` and ``figures/experiments.*`` into the folder ``out``.

    Args:
        outcomes: every experiment under every protocol and seed that was asked for, run or not.
        data: the cells of the study.
        out: the folder; links to the runs' reports are relative to it.
        synthetic: whether the cells are synthetic; also taken to be so where any run says so.
            Published figures, which are of real cells, are then left out.
        command: what to type to run it again.

    Returns:
        ``out``.

    Raises:
        BlastscopeError: where an outcome is there twice, or a run is not evaluated or not what
            its outcome says, or ``out`` cannot be written.
    """
    experiments = read_experiments(outcomes)
    synthetic = synthetic or _any_synthetic(experiments)
    done = [experiment for experiment in experiments if experiment.was_run]
    sections = [experiment_section(item, out, synthetic=synthetic) for item in done]
    figure = None
    if done:
        drawn = experiments_figure(done, synthetic=synthetic)
        figure = svg_uri(save(drawn, out / "figures", "experiments"))
    page = render(
        "reproduction.html",
        title="The experiments of Baldi and Cioffo, run again",
        synthetic=synthetic,
        families=table_rows(experiments, synthetic=synthetic),
        experiments=experiments,
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
    """Write the main table as GitHub Markdown, a table a family, with the page's own figures.

    Raises:
        BlastscopeError: as :func:`write_reproduction`.
    """
    experiments = read_experiments(outcomes)
    return markdown_table(experiments, synthetic=_any_synthetic(experiments))


def _any_synthetic(experiments: Sequence[Experiment]) -> bool:
    return any(result.synthetic for item in experiments for result in item.all_results)
