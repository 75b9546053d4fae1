"""ResNet-50's recipes from random weights: its ImageNet ones are not always at hand."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file

from blastscope.reproduction.plan import StudyPlan, make_plan
from blastscope.reproduction.runner import StudyLocation
from blastscope.reproduction.study_folder import prepare_cells
from tests.reproduction.conftest import run_plan

SETTINGS = ["input.size=32", "model.weights=none", "training.epochs=1", "training.batch=16"]
CHAINS = {
    # what is trained last, and where Keras's names say that its training begins
    "resnet50-ft2": "layer4.2.conv1",
    "resnet50-cut-ft6": "layer2.0.conv1",
    "resnet50-cut-ft11": "conv1",
    "resnet50-cut-clahe": "layer1.0.conv1",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_resnet50_is_trained(name, dataset, tmp_path):
    plan = make_plan(name, ["image"], overrides=SETTINGS)
    data = dataset(subjects=3, per_subject=4, side=60)
    location = StudyLocation(tmp_path / "study", "cpu")
    prepare_cells(data, location.out, plan.jobs, None)
    done = run_plan(StudyPlan(plan.jobs, {}), location)
    assert not done.failures
    assert len(done.results) == 2
    first, last = (job.run(location.out) for job in plan.jobs)
    before, after = (load_file(run / "checkpoint.safetensors") for run in (first, last))
    changed = {key for key in before if not before[key].equal(after[key])}
    layers = json.loads((last / "network.json").read_text())["layers"]
    trained = {layer["name"] for layer in layers if layer["trainable"]}
    # timm begins each block's last scale at zero, so that after one step not all has moved.
    assert changed
    assert {key.rpartition(".")[0] for key in changed} <= trained
    names = [layer["name"] for layer in layers]
    begins = names.index(f"backbone.net.{CHAINS[name]}")
    assert trained == {layer["name"] for layer in layers[begins:] if layer["parameters"]}
