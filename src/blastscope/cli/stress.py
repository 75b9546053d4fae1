"""``blastscope stress``: what a change of stain, focus or light costs, and what is no cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import Device, Part, ReportFolder
from blastscope.cli.output import note, print_table, say

if TYPE_CHECKING:
    from blastscope.robustness.summary import ModelRobustness


def stress(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Runs, or folders of crossval; NAME=PATH names a model anew.",
        ),
    ],
    store: Annotated[Path, typer.Option(help="The store with the cells.", metavar="STORE")],
    out: ReportFolder,
    part: Part = "test",
    device: Device = "auto",
) -> None:
    """Change cells as another lab's would differ, and say what it costs; it goes on if killed."""
    from blastscope.api.stress_test import stress_to_folder
    from blastscope.parallel import progress_total

    with progress_total("Stress test") as advance:
        made = stress_to_folder(models, store, out, part, device=device, on_progress=advance)
    for model in made.models:
        _show(model)
    for sentence in dict.fromkeys(model.found.sentence for model in made.models):
        note(f"Intervals: {sentence}")
    say(f"{made.path}")


def _show(model: ModelRobustness) -> None:
    from blastscope.explanation.audit.words import figure, told
    from blastscope.robustness.perturbation_plan import PERTURBATIONS

    rows = []
    for one in PERTURBATIONS:
        at = model.worst(one)
        drops = (told(at.drops[name], 3) for name in ("auc", "weighted_f1"))
        changed = (figure(x, 1, percent=True) for x in (at.calls_changed, at.out_of_distribution))
        rows.append((one.shown, one.told(at.step.value or 0), *drops, *changed))
    say(f"{model.model}, {model.cells:,} cells")
    heads = (
        "worst at",
        "AUC falls by",
        "weighted F1 falls by",
        "calls changed",
        "out_of_distribution",
    )
    print_table(("perturbation", *heads), rows)
    for sentence in model.sentences:
        say(sentence)
