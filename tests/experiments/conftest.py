from collections.abc import Callable
from pathlib import Path

import pytest

from blastscope.api.recipes import with_starts
from blastscope.data.preparation import prepare
from blastscope.data.store import StoreSettings
from blastscope.experiments.crossval_folder import CrossvalRequest
from tests.training.conftest import RECIPE, material

__all__ = ["asked", "material"]


@pytest.fixture
def asked(dataset: Callable[..., Path], tmp_path: Path) -> CrossvalRequest:
    """A tiny recipe, two epochs, on a store of 40 cells, two folds by subject."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE)
    store = prepare([dataset()], tmp_path / "store", StoreSettings(size=32)).path
    recipes = with_starts(str(recipe), ["training.epochs=2"])
    return CrossvalRequest(recipes, store, tmp_path / "cv", folds=2, seed=3, device="cpu")
