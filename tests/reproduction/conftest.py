"""A tiny study: a recipe, one that starts from it, one that starts from that, and a loner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from blastscope.api.evaluate import evaluate
from blastscope.recipes.library import load_recipe
from blastscope.report.evaluation_text import headline
from blastscope.reproduction import runner
from blastscope.reproduction.plan import StudyJob, StudyPlan
from blastscope.reproduction.runner import StudyLocation
from blastscope.reproduction.study_folder import prepare_cells
from blastscope.training.train import Trained

RECIPES = {
    "first": """
title: A tiny network
input: {size: 32, normalization: unit}
model: {backbone: cnn4-small, weights: none, head: [gap, {dropout: 0.3}]}
training: {optimizer: adam, rate: 0.01, batch: 8, epochs: 2, balance: paper}
""",
    "second": """
title: The last layers tuned
extends: first.yaml
starts_from: first
model: {trainable: {from: conv4}}
training: {rate: 0.001}
""",
    "third": """
title: All of it tuned
extends: second.yaml
starts_from: second
model: {trainable: all}
""",
    "alone": """
title: On its own
extends: first.yaml
training: {rate: 0.005}
""",
}


def evaluated(run: Trained, store: Path) -> str:
    """Evaluate a run, for the runner."""
    found = evaluate(run.path, run.part, out=run.path, store=store)
    return headline(found.part, found.metrics)


def run_plan(plan: StudyPlan, location: StudyLocation, processes: int = 1, **more: Any) -> Any:
    """Run a plan as the command does."""
    return runner.run_plan(plan, location, evaluated, processes, **more)


class Tiny(NamedTuple):
    plan: StudyPlan
    location: StudyLocation
    data: Path

    def elsewhere(self, name: str) -> Tiny:
        """Return the same study in another folder."""
        location = StudyLocation(self.location.out.parent / name, "cpu")
        prepare_cells(self.data, location.out, self.plan.jobs, None)
        return self._replace(location=location)


@pytest.fixture(autouse=True)
def one_thread():
    """Rounding depends on the number of threads, and a tiny training makes much of it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny(dataset: Callable[..., Path], tmp_path: Path) -> Tiny:
    for name, text in RECIPES.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    recipes = [load_recipe(str(tmp_path / f"{name}.yaml")) for name in RECIPES]
    plan = StudyPlan(tuple(StudyJob(recipe, "image", 24) for recipe in recipes), {})
    study = Tiny(plan, StudyLocation(tmp_path / "study", "cpu"), dataset())
    prepare_cells(study.data, study.location.out, plan.jobs, None)
    return study
