from collections.abc import Callable
from pathlib import Path

import pytest

from blastscope.crossval.folder import Order
from blastscope.crossval.run import with_starts
from blastscope.prepare.build import prepare
from blastscope.prepare.store import StoreSettings
from tests.train.conftest import RECIPE


@pytest.fixture
def order(dataset: Callable[..., Path], tmp_path: Path) -> Order:
    """A tiny recipe, two epochs, on a store of 40 cells, two folds by subject."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE)
    store = prepare([dataset()], tmp_path / "store", StoreSettings(size=32)).path
    recipes = with_starts(str(recipe), ["training.epochs=2"])
    return Order(recipes, store, tmp_path / "cv", folds=2, seed=3, device="cpu")
