"""Folders of numbered images, as the challenge has them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.trained import Trained


@pytest.fixture
def numbered(trained: Trained, tmp_path: Path) -> Callable[..., tuple[Path, list[str]]]:
    """Copy ``count`` cells to 1.bmp, 2.bmp…; return the folder and whose image each is."""

    def copy(count: int = 12, folder: str = "C-NMC_test_prelim") -> tuple[Path, list[str]]:
        cells = sorted(trained.images)[:count]
        (tmp_path / folder).mkdir()
        for number, cell in enumerate(cells, start=1):
            shutil.copy(trained.images[cell], tmp_path / folder / f"{number}.bmp")
        return tmp_path / folder, cells

    return copy
