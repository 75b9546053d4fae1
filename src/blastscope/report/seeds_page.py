"""The page of several seeds: how far training alone moves the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from matplotlib.figure import Figure

from blastscope.evaluation.result import Evaluation
from blastscope.evaluation.spread import Spread
from blastscope.evaluation.weighted_metrics import METRICS
from blastscope.experiments.seeds import Seeds, gather_seeds
from blastscope.io.files import write_text
from blastscope.report.evaluation_text import overlap_text, sampling_text
from blastscope.report.html import render, svg_uri
from blastscope.report.style import COLOURS, INK, QUIET, name_rows, save, styled, widen
from blastscope.report.text import HEADLINE, protocol_name, spread


@dataclass(frozen=True)
class SeedsReport:
    """The metrics of several seeds.

    Attributes:
        recipe: its name.
        starts_from: the recipe of the run that every seed started from; None if there is none.
        part: the split part that they are of.
        results: by seed.
        spread: by metric (``weighted_metrics.METRICS``), over the seeds; None if one lacks it.
    """

    recipe: str
    starts_from: str | None
    part: str
    results: Mapping[int, Evaluation]
    spread: Mapping[str, Spread | None]


def seeds_headline(found: SeedsReport) -> str:
    """Write the mean and standard deviation of the first metrics in a line."""
    spreads = ((name, found.spread[key]) for key, name in HEADLINE.items())
    text = ", ".join(f"{name} {spread(values)}" for name, values in spreads if values is not None)
    return f"mean over {len(found.results)} seeds ± standard deviation: {text}"


def seeds_meaning(found: SeedsReport) -> str:
    """Write what the spread over the seeds contains, and what it does not."""
    text = (
        f"These {len(found.results)} trainings have the same split and differ only in the seed: "
        "the spread is that of training, not of the choice of cells or subjects. Each run's own "
        f"95 % interval shows how the metrics may differ with other {found.part} subjects."
    )
    if found.starts_from is not None:
        text += (
            f" Each started from the same run of {found.starts_from}: the spread of that training "
            "is not in it either."
        )
    return text


def report_seeds(seeds: Seeds, results: Mapping[int, Evaluation]) -> SeedsReport:
    """Join the evaluations of all seeds.

    Writes ``predictions.parquet`` with a model a seed, ``seeds.json``, ``figures/seeds.*`` and a
    self-contained ``report.html`` that links to each run's own.

    Args:
        seeds: the folder, with every run trained.
        results: by seed, the evaluation of its run.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    gather_seeds(seeds)
    first = next(iter(results.values()))
    found = SeedsReport(
        recipe=seeds.request.recipe.name,
        starts_from=seeds.request.recipe.starts_from,
        part=first.part,
        results=results,
        spread={name: _spread(results, name) for name in METRICS},
    )
    seeds.folder.record(_content(found), ["predictions.parquet"])
    plot = save(seeds_plot(found), seeds.request.out / "figures", "seeds")
    page = render(
        "seeds.html",
        title=f"{found.recipe}: {len(results)} seeds, {protocol_name(first.protocol)}",
        synthetic=first.synthetic,
        found=found,
        first=first,
        headline_text=seeds_headline(found),
        meaning=seeds_meaning(found),
        overlap_text=overlap_text(first.overlap),
        sampling=sampling_text(first.intervals.sampling),
        links={seed: f"{seeds.request.run(seed).name}/report.html" for seed in results},
        plot=svg_uri(plot),
    )
    write_text(seeds.request.out / "report.html", page)
    return found


def _spread(results: Mapping[int, Evaluation], name: str) -> Spread | None:
    values = [result.metrics[name] for result in results.values()]
    known = [float(value) for value in values if value is not None]
    return Spread.of(known) if len(known) == len(values) else None


def _content(found: SeedsReport) -> dict[str, object]:
    """Return the metrics for ``seeds.json``."""
    first = next(iter(found.results.values()))
    return {
        "recipe": found.recipe,
        "synthetic": first.synthetic,
        "protocol": first.protocol,
        "part": found.part,
        "starts_from": found.starts_from,
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
def seeds_plot(found: SeedsReport) -> Figure:
    """Plot each metric: a dot for each seed, the mean and a standard deviation to both sides."""
    shown = {name: spread for name in HEADLINE if (spread := found.spread[name]) is not None}
    figure = Figure(figsize=(9.2, 1.75), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (name, spread) in zip(panels, shown.items(), strict=True):
        values = [result.metrics[name] for result in found.results.values()]
        half = spread.deviation or 0.0
        axes.axvspan(spread.mean - half, spread.mean + half, color=QUIET, alpha=0.18, linewidth=0)
        axes.axvline(spread.mean, color=INK, linewidth=1)
        axes.plot(values, range(len(values)), "o", color=COLOURS["hem"], markersize=5)
        name_rows(axes, [f"seed {k}" if axes is panels[0] else "" for k in found.results])
        axes.margins(x=0.12)
        widen(axes, 0.02)
        axes.locator_params(axis="x", nbins=3)
        axes.set_title(HEADLINE[name])
    figure.set_figheight(1.2 + 0.16 * len(found.results))
    figure.supxlabel(
        "a dot for each seed; line and shade: mean and standard deviation", fontsize=8, color=QUIET
    )
    return figure
