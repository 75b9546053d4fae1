"""The page of several seeds: what training alone moves, beside each run's own report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from matplotlib.figure import Figure

from blastscope.evaluation.result import Evaluation
from blastscope.evaluation.spread import Spread
from blastscope.evaluation.weighted_metrics import FIGURES
from blastscope.experiments.seeds import Seeds, gather_seeds, record_seeds
from blastscope.io.files import write_text
from blastscope.report.html import render, svg_uri
from blastscope.report.plots import save
from blastscope.report.style import COLOURS, INK, QUIET, styled
from blastscope.report.text import HEADLINE, METRIC_NAMES, protocol_name, spread


@dataclass(frozen=True)
class SeedsReport:
    """The figures of several seeds.

    Attributes:
        recipe: its name.
        part: the part that they are of.
        results: by seed.
        spread: by figure (``resampled.FIGURES``), over the seeds; None where one lacks it.
        sentence: what the spread is of, and what it is not.
    """

    recipe: str
    part: str
    results: Mapping[int, Evaluation]
    spread: Mapping[str, Spread | None]
    sentence: str

    @property
    def headline(self) -> str:
        """The figures that a reader asks for first, in a line."""
        found = ((name, self.spread[key]) for key, name in HEADLINE.items())
        told = (f"{name} {spread(values)}" for name, values in found if values is not None)
        return f"mean over {len(self.results)} seeds ± standard deviation: {', '.join(told)}"


def report_seeds(seeds: Seeds, results: Mapping[int, Evaluation]) -> SeedsReport:
    """Put the evaluations of all seeds together.

    Writes ``predictions.parquet`` with a model a seed, ``seeds.json``, ``figures/seeds.*`` and a
    self-contained ``report.html`` that links to each run's own.

    Args:
        seeds: the folder, every run of which is trained.
        results: by seed, the evaluation of its run.

    Raises:
        BlastscopeError: where the folder cannot be written.
    """
    gather_seeds(seeds)
    first = next(iter(results.values()))
    found = SeedsReport(
        recipe=seeds.order.recipe.name,
        part=first.part,
        results=results,
        spread={name: _spread(results, name) for name in FIGURES},
        sentence=_sentence(seeds, first.part),
    )
    record_seeds(seeds, _content(found))
    picture = save(seeds_figure(found), seeds.order.out / "figures", "seeds")
    page = render(
        "seeds.html",
        title=f"{found.recipe}: {len(results)} seeds, {protocol_name(first.protocol)}",
        synthetic=first.synthetic,
        found=found,
        first=first,
        links={seed: f"{seeds.order.run(seed).name}/report.html" for seed in results},
        panels=HEADLINE,
        names=METRIC_NAMES,
        picture=svg_uri(picture),
    )
    write_text(seeds.order.out / "report.html", page)
    return found


def _spread(results: Mapping[int, Evaluation], name: str) -> Spread | None:
    values = [result.metrics[name] for result in results.values()]
    known = [float(value) for value in values if value is not None]
    return Spread.of(known) if len(known) == len(values) else None


def _sentence(seeds: Seeds, part: str) -> str:
    said = (
        f"These {len(seeds.all)} trainings have the same split and differ in the seed alone: the "
        "spread is that of training, not of the draw of cells or persons. How the figures might "
        f"move with other subjects than these {part} subjects is another question, which the "
        "interval in each run's report answers."
    )
    if seeds.order.recipe.starts_from is not None:
        said += (
            f" Each started from the same run of {seeds.order.recipe.starts_from}, so that what "
            "that training moves is not in the spread either."
        )
    return said


def _content(found: SeedsReport) -> dict[str, object]:
    """The figures for ``seeds.json``."""
    first = next(iter(found.results.values()))
    return {
        "recipe": found.recipe,
        "synthetic": first.synthetic,
        "protocol": first.protocol,
        "part": found.part,
        "sentence": found.sentence,
        "seeds": list(found.results),
        "runs": [
            {
                "seed": seed,
                "run": f"seed{seed}",
                "checkpoint": result.checkpoint,
                "metrics": dict(result.metrics),
            }
            for seed, result in found.results.items()
        ],
        "spread": {
            name: None if spread is None else asdict(spread)
            for name, spread in found.spread.items()
        },
    }


@styled
def seeds_figure(found: SeedsReport) -> Figure:
    """A panel a figure: a dot a seed, the mean and a standard deviation to both sides."""
    shown = {name: spread for name in HEADLINE if (spread := found.spread[name]) is not None}
    figure = Figure(figsize=(9.2, 1.75), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (name, spread) in zip(panels, shown.items(), strict=True):
        values = [result.metrics[name] for result in found.results.values()]
        half = spread.deviation or 0.0
        axes.axvspan(spread.mean - half, spread.mean + half, color=QUIET, alpha=0.18, linewidth=0)
        axes.axvline(spread.mean, color=INK, linewidth=1)
        axes.plot(values, range(len(values)), "o", color=COLOURS["hem"], markersize=5)
        seeds = [f"seed {k}" for k in found.results] if axes is panels[0] else [""] * len(values)
        axes.set_yticks(range(len(values)), seeds)
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=3)
        axes.set_title(HEADLINE[name])
    figure.set_figheight(1.2 + 0.16 * len(found.results))
    figure.supxlabel(
        "a dot a seed; line and shade: mean and standard deviation", fontsize=8, color=QUIET
    )
    return figure
