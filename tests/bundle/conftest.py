"""Bundles of two small runs and of their ensemble, made once for all tests here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from blastscope.api.bundle import make_bundle as bundle
from blastscope.ensemble.combination import Combination
from blastscope.ensemble.ensemble_folder import EnsembleFolder, ensemble_members, write_ensemble
from blastscope.evaluation.aligned_predictions import align_predictions
from tests.trained import Trained, train_two


class Bundles(NamedTuple):
    trained: Trained
    folder: Path
    """Of the first run."""
    zip: Path
    """Of the second run."""
    ensemble: Path
    """Of both, a folder."""


@pytest.fixture(scope="session")
def bundles(tmp_path_factory) -> Bundles:
    root = tmp_path_factory.mktemp("bundles")
    trained = train_two(root / "trained")
    scores = align_predictions([f"A={trained.run}", f"B={trained.other}"])
    how = Combination("genetic", "weights", (0.75, 0.25))
    members = ensemble_members(scores.members, root / "e")
    write_ensemble(EnsembleFolder("both", how, members, False, {"part": "validation"}), root / "e")
    (root / "e" / "predictions.parquet").touch()
    made = [
        bundle(source, root / name).path
        for source, name in ((trained.run, "one"), (trained.other, "two.zip"), (root / "e", "all"))
    ]
    return Bundles(trained, *made)
