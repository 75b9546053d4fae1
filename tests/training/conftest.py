from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings

RECIPE = """
title: A tiny network for tests
input: {size: 32, normalization: unit}
model:
  backbone: cnn4-small
  weights: none
  head: [gap, {dropout: 0.3}]
training: {optimizer: adam, rate: 0.01, batch: 8, epochs: 4, balance: paper, augmentation: dihedral}
"""


class Material(NamedTuple):
    recipe: Path
    store: Path
    split: Path


@pytest.fixture
def material(dataset: Callable[..., Path], tmp_path: Path) -> Material:
    """A tiny recipe, a store of 40 cells and a subject split of it."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE)
    store = prepare([dataset()], tmp_path / "store", StoreSettings(size=32)).path
    return Material(recipe, store, make_split(store, "subject", 3)[0])
