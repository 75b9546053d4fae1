"""A stored bundle of this format version is still read, and predicts the same.

``fixtures/tiny-2.zip`` holds a network of two epochs on drawn discs, ``tiny-2.json`` what it said
of six of them on the day that it was made. They are never made anew: a bundle that somebody has
must stay readable.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import blastscope
from blastscope.bundle.read import open_bundle
from tests.conftest import draw_cell

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_a_bundle_of_version_2_says_what_it_said_when_it_was_made(engine):
    model = blastscope.load(FIXTURES / "tiny-2.zip", engine=engine, device="cpu")
    found = model.predict([draw_cell(k, 120, 30 if k % 2 else 22) for k in range(6)])
    said = json.loads((FIXTURES / "tiny-2.json").read_text())
    for name in ("p_all", "p_raw", "ood_score"):
        assert found[name].to_list() == pytest.approx(said[name], abs=1e-4), name
    for name in ("called", "refer"):
        assert found[name].to_list() == said[name], name


def test_a_bundle_of_version_2_is_whole():
    found = open_bundle(FIXTURES / "tiny-2.zip")
    assert found.manifest.version == 2
    assert found.verify() > 200_000
    assert "not a medical device" in found.card
