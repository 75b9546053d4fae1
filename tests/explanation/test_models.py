from __future__ import annotations

import numpy as np
import pytest
import torch

from blastscope.api.fit_ensemble import fit_ensemble
from blastscope.errors import BlastscopeError
from blastscope.explanation.cells import find_cells, prepare_cells
from blastscope.explanation.models import open_models

CPU = torch.device("cpu")


def test_a_model_says_what_its_run_said(trained, tmp_path):
    explained = open_models([f"A={trained.run}", f"B={trained.other}"], CPU)
    assert [model.name for model in explained.models] == ["A", "B"]
    assert (explained.combination, explained.name) == (None, "2 models")
    found = find_cells([str(path) for path in trained.images.values()], [])
    dataset = prepare_cells(found, [m.settings for m in explained.models], tmp_path / "work")
    for model, run in zip(explained.models, (trained.run, trained.other), strict=True):
        images = dataset.images(model.settings, range(len(dataset)))
        said = 1 / (1 + np.exp(-model.logits(images)))
        recorded = trained.p_all(run)
        assert said == pytest.approx([recorded[c.cell] for c in dataset.files], abs=1e-6)


def test_an_ensemble_is_its_members_under_their_names(trained, tmp_path):
    given = [f"A={trained.run}", f"B={trained.other}"]
    fit_ensemble(given, out=tmp_path / "both", method="mean")
    explained = open_models([tmp_path / "both"], CPU)
    assert [model.name for model in explained.models] == ["A", "B"]
    assert explained.combination is not None
    assert explained.combination.weights == (0.5, 0.5)


def test_two_models_of_one_name_are_refused(trained):
    with pytest.raises(BlastscopeError, match="name them apart"):
        open_models([trained.run, trained.other], CPU)


def test_a_model_given_twice_is_said_to_be(trained):
    again = trained.run.parent / "store32" / ".." / trained.run.name
    with pytest.raises(BlastscopeError, match="run32 is given twice: give each model once"):
        open_models([trained.run, again], CPU)
