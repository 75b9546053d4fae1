"""The page of a stress test: its sentences, plots and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from blastscope.data.crop import Pixels, resize
from blastscope.data.names import ALL
from blastscope.data.store import Store
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.report.evaluation_text import overlap_text, sampling_text
from blastscope.report.html import render, small_uri, svg_uri
from blastscope.report.size_curve_text import enlarged_text
from blastscope.report.style import PALETTE, QUIET, drawable, save, styled
from blastscope.report.text import LABELS, counted, listed, metric, number, percent
from blastscope.robustness.metrics import StepMetrics
from blastscope.robustness.perturbations import PERTURBATIONS, Perturbation, Step, steps
from blastscope.robustness.summary import NOTICED, ModelRobustness, OodCheck

_EXAMPLE_SIDE = 96
METRICS = {"auc": "AUC", "weighted_f1": "weighted F1"}
_COLOURS = [PALETTE[k] for k in (0, 5, 2, 3, 4, 1, 7)]
_LINES = ("-", "--", ":")
_COLUMNS = 4


def stress_html(
    found: Sequence[ModelRobustness],
    cells: pl.DataFrame,
    store: Store,
    figures: Path,
    part: str,
    *,
    synthetic: bool,
) -> str:
    """Draw the plots of a stress test and render its self-contained page.

    ``cells`` are those of the first model, with their ``row`` in the store, ``cell`` and ``label``;
    the first that is labelled ALL is shown at every step.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    pictures = draw_stress(found, figures)
    example = cells.sort(pl.col("label") != ALL, "cell").row(0, named=True)
    return render(
        "stress.html",
        title="Stress test",
        synthetic=synthetic,
        part=part,
        models=found,
        verdicts=[verdict_text(model) for model in found],
        sentences=[model_text(model) for model in found],
        samplings=[sampling_text(model.found.sampling) for model in found],
        tones=[tone(model.dearest(model.judged).drops[model.judged]) for model in found],
        metrics=METRICS,
        perturbations=PERTURBATIONS,
        noticed=NOTICED,
        value_text=value_text,
        pictures={name: svg_uri(path) for name, path in pictures.items()},
        example=example["cell"],
        strips=_strips(np.array(store.pixels[[example["row"]]])),
    )


def _strips(picture: Pixels) -> dict[str, list[tuple[str, str]]]:
    """Show one cell, (1, S, S, 3), at every step: (value, data URI) by perturbation."""
    strips: dict[str, list[tuple[str, str]]] = {
        "Unchanged": [("unchanged", _uri(Step(0), picture))]
    }
    for step in steps():
        if step.perturbation is not None and step.value is not None:
            name = step.perturbation.shown[:1].upper() + step.perturbation.shown[1:]
            value = value_text(step.perturbation, step.value)
            strips.setdefault(name, []).append((value, _uri(step, picture)))
    return strips


def _uri(step: Step, picture: Pixels) -> str:
    changed: Pixels = step(picture)[0]
    return small_uri(resize(changed, _EXAMPLE_SIDE) if len(changed) > _EXAMPLE_SIDE else changed)


def value_text(perturbation: Perturbation, value: float) -> str:
    """Write a value with its unit: ``+10°``, ``×1.2``, ``quality 50``."""
    if perturbation.unit == "quality":
        return f"quality {value:g}"
    if perturbation.log:
        return f"×{value:.3g}"
    two_sided = len(perturbation.values[0]) > 1
    text = f"{value:+g}" if two_sided else f"{value:g}"
    unit = perturbation.unit
    if unit == "stops" and abs(value) == 1:
        unit = "stop"
    return text.replace("-", "−") + (unit if unit == "°" else f" {unit}")


def verdict_text(model: ModelRobustness) -> str:
    """Name the perturbation that costs a model most, and how much it costs."""
    step = model.dearest(model.judged)
    fall = step.drops[model.judged]
    unsure = not tone(fall) and fall.low <= 0
    doubt = "; the interval contains zero, so this is not certain" * unsure
    return (
        f"{model.model}: {_step(step)} costs most: {METRICS[model.judged]} falls by "
        f"{_fall(model, step, model.judged)}{doubt}."
    )


def tone(fall: Estimate) -> str:
    """Return the class of the box with the largest fall: a warning, good, or neither if unsure."""
    if fall.above_zero:
        return "training"
    return "disjoint" if fall.value < NOTICED else ""


def model_text(model: ModelRobustness) -> tuple[str, ...]:
    """Write the further sentences on one model."""
    sentences = []
    if model.judged == "auc":
        step = model.dearest("weighted_f1")
        if step.drops["weighted_f1"].value > 0:
            fall = _fall(model, step, "weighted_f1")
            sentences.append(f"Weighted F1 falls most with {_step(step)}: by {fall}.")
        sentences.append(_noticed(model))
    if model.size:
        sentences.append(enlarged_text(model.size))
    if model.ood is not None:
        sentences.append(_flags(model.ood))
    return (*sentences, f"{counted(model.cells)}. {overlap_text(model.overlap)}")


def _fall(model: ModelRobustness, step: StepMetrics, name: str) -> str:
    before, after = (number(at.values[name], 3) for at in (model.unchanged, step))
    return f"{metric(step.drops[name], 3)}, from {before} to {after}"


def _step(one: StepMetrics) -> str:
    step = one.step
    assert step.perturbation is not None
    assert step.value is not None
    return f"{step.perturbation.shown} ({value_text(step.perturbation, step.value)})"


def _noticed(model: ModelRobustness) -> str:
    reached, never = [], []
    for one in PERTURBATIONS:
        at = [value_text(one, step.step.value or 0) for step in model.noticed(one)]
        if at:
            reached.append(f"{one.shown} (from {listed(at)} on)")
        else:
            never.append(one.shown)
    if not reached:
        return f"AUC never falls by {NOTICED:.2f} or more."
    text = f"AUC falls by {NOTICED:.2f} or more with {listed(reached)}"
    return f"{text}; never with {listed(never, 'or')}." if never else f"{text}."


def _flags(found: OodCheck) -> str:
    shares = [f"{LABELS[label]} {percent(share)}" for label, share in found.by_class.items()]
    text = f"{percent(found.flagged)} of the cells are flagged as out-of-distribution"
    text += f" ({', '.join(shares)})"
    if found.worst is not None and found.worst[1] > 0:
        subject, share, cells = found.worst
        text += f", at most {percent(share)} of the {counted(cells)} of subject {subject}"
    kinds = {kind.kind: percent(kind.flagged, 0) for kind in found.kinds}
    if len(set(kinds.values())) == 1 < len(kinds):
        return f"{text}; of images that are not cells {next(iter(kinds.values()))} of each kind."
    told = ", ".join(f"{kind} {share}" for kind, share in kinds.items())
    return f"{text}; of images that are not cells: {told}."


def draw_stress(models: Sequence[ModelRobustness], folder: Path) -> dict[str, Path]:
    """Draw the plots into ``folder``, as PNG and SVG.

    Returns:
        The SVG of each, by metric, and ``size`` if the networks see the size of cells.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    drawn = {
        name: save(curves_plot(models, name), folder, f"stress-{name.replace('_', '-')}")
        for name in METRICS
    }
    if any(model.size for model in models):
        drawn["size"] = save(size_plot(models), folder, "stress-size")
    return drawn


@styled
def size_plot(models: Sequence[ModelRobustness]) -> Figure:
    """Plot AUC, and the calls ALL, against the factor by which normal cells change in size."""
    figure = Figure(figsize=(7.4, 3.0 + 0.2 * len(models)), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, model in enumerate(model for model in models if model.size):
        factors = [one.factor for one in model.size]
        for axes, name in ((left, "auc"), (right, "normal_called_all")):
            axes.plot(
                factors, [getattr(one, name) for one in model.size], marker="o", markersize=3.5,
                color=_COLOURS[k % len(_COLOURS)], label=drawable(model.model, 70),
            )  # fmt: skip
        left.plot(
            factors, [one.auc_resampled for one in model.size], marker="o", markersize=2.5,
            linestyle="--", color=_COLOURS[k % len(_COLOURS)],
        )  # fmt: skip
    heads = ("AUC (dashed: ALL cells resampled too)", "normal cells called ALL")
    for axes, title in zip((left, right), heads, strict=True):
        axes.axvline(1, color=QUIET, linewidth=1, linestyle=":")
        axes.set(xlabel="normal cells enlarged ×", title=title, ylim=(0, 1.02))
    left.axhline(0.5, color=QUIET, linewidth=1, linestyle=":")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center")
    return figure


@styled
def curves_plot(models: Sequence[ModelRobustness], name: str) -> Figure:
    """Plot a metric against the strength of each perturbation; the dotted line is unchanged."""
    rows = -(-len(PERTURBATIONS) // _COLUMNS)
    figure = Figure(figsize=(10, 2.3 * rows + 0.3 + 0.2 * len(models)), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, sharey=True).ravel()
    for axes, one in zip(panels, PERTURBATIONS, strict=False):
        axes.axvline(one.unchanged, color=QUIET, linewidth=1, linestyle=":")
        for k, model in enumerate(models):
            _draw(axes, model, one, name, k)
        _lay_axis(axes, one)
    for axes in panels[len(PERTURBATIONS) :]:
        axes.set_visible(False)
    for axes in panels[::_COLUMNS]:
        axes.set_ylabel(METRICS[name])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center")
    return figure


def _draw(axes: Axes, model: ModelRobustness, one: Perturbation, name: str, k: int) -> None:
    points = [(at.step.value or 0.0, at.values[name]) for at in model.of(one)]
    points = sorted([*points, (one.unchanged, model.unchanged.values[name])])
    axes.plot(
        *zip(*points, strict=True), color=_COLOURS[k % len(_COLOURS)], marker="o", markersize=3.5,
        linestyle=_LINES[k // len(_COLOURS) % len(_LINES)], label=drawable(model.model, 70),
    )  # fmt: skip


def _lay_axis(axes: Axes, one: Perturbation) -> None:
    axes.set_title(one.shown[:1].upper() + one.shown[1:])
    axes.set_xlabel("degrees" if one.unit == "°" else one.unit)
    if one.log:
        axes.set_xscale("log")
        ends = one.values[-1]
        ticks = [ends[0], 1, ends[1]]
        axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    if one.unit == "quality":
        axes.invert_xaxis()
