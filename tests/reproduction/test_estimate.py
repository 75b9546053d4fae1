"""Estimates: operations by hand, frozen parts counted once, epochs in proportion."""

from __future__ import annotations

import pytest
import torch

from blastscope.reproduction import estimate as module
from blastscope.reproduction.estimate import estimate
from blastscope.reproduction.plan import make_plan

CELLS = {"train": 600, "validation": 200, "test": 200}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_second_a_billion(monkeypatch):
    """Make a machine of exactly 10^9 operations a second."""

    def seconds(classifier, size, device):
        return module._operations(classifier, size) / 1e9

    monkeypatch.setattr(module, "_seconds_an_image", seconds)
    for fixed in ("_A_BATCH", "_A_JOB"):
        monkeypatch.setattr(module, fixed, 0.0)


def jobs(*names):
    return [
        job
        for name in names
        for job in make_plan(name, ["image"], overrides=["input.size=32"]).jobs
    ]


def test_a_network_from_scratch_by_hand():
    """Convolutions at 60, 30, 15 and 5 pixels, two dense layers; 2 operations a product."""
    (job,) = make_plan("cnn-exp1", ["image"], overrides=["input.size=60"]).jobs
    products = 9 * (60**2 * 3 * 32 + 30**2 * 32 * 64 + 15**2 * 64 * 128 + 5**2 * 128 * 256)
    products += 256 * 256 + 256
    cell = 2 * products / 1e9
    found = estimate([job], CELLS, CPU)[job.key]
    epoch = cell * (3 * 600 + 200)
    assert found.most == pytest.approx(30 * epoch + 1000 * cell, rel=1e-3)
    assert found.usual == pytest.approx(13 * epoch + 1000 * cell, rel=1e-3)


def test_a_frozen_part_is_paid_for_once():
    e3, again = jobs("mobilenetv2-e3", "mobilenetv2-e3")
    found = estimate([e3], CELLS, CPU)[e3.key]
    both = estimate([e3, again], CELLS, CPU)[e3.key]
    assert both.usual < found.usual / 5
    tuned = estimate(jobs("mobilenetv2-e7"), CELLS, CPU)
    assert tuned["paper/mobilenetv2-e7", "image", 24].usual > 3 * found.usual
