"""Write the page of a stress test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from blastscope.data.crop import Pixels, resize
from blastscope.data.names import ALL
from blastscope.data.store import Store
from blastscope.report import robustness_text
from blastscope.report.evaluation_text import sampling_text
from blastscope.report.html import render, small_uri, svg_uri
from blastscope.report.robustness_plots import draw_stress
from blastscope.report.text import interval, number, percent
from blastscope.robustness.perturbation_plan import PERTURBATIONS, Step, steps
from blastscope.robustness.summary import NOTICED, ModelRobustness

_EXAMPLE_SIDE = 96


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

    Args:
        found: the models.
        cells: of the first model: ``row`` in the store, ``cell`` and ``label``; one of them, the
            first that is labelled ALL, is shown at every step.
        store: of these cells.
        figures: the folder of the plots.
        part: of the split that was tested.
        synthetic: whether cells or models are synthetic.

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
        verdicts=[robustness_text.verdict_text(model) for model in found],
        sentences=[robustness_text.model_text(model) for model in found],
        samplings=[sampling_text(model.found.sampling) for model in found],
        costly=[model.dearest(model.judged).drops[model.judged].above_zero for model in found],
        metrics=robustness_text.METRICS,
        perturbations=PERTURBATIONS,
        noticed=NOTICED,
        value_text=robustness_text.value_text,
        interval=interval,
        num=number,
        percent=percent,
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
            value = robustness_text.value_text(step.perturbation, step.value)
            strips.setdefault(name, []).append((value, _uri(step, picture)))
    return strips


def _uri(step: Step, picture: Pixels) -> str:
    changed: Pixels = step(picture)[0]
    return small_uri(resize(changed, _EXAMPLE_SIDE) if len(changed) > _EXAMPLE_SIDE else changed)
