"""What tests share: small cells on disk, and real ones where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import settings

from blastscope.process import keep_freed_memory

if TYPE_CHECKING:
    from tests.trained import Trained

# A machine that is busy with something else is no fault of the code's.
settings.register_profile("blastscope", deadline=None)
settings.load_profile("blastscope")

keep_freed_memory()  # as the command line does, for trainings on a processor

BLANK_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1" width="1" height="1"></svg>'
BLANK_PNG = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real cells and weights; a test that needs it is skipped without."""
    folder = Path(os.environ.get("BLASTSCOPE_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data" / "C-NMC_training_data").is_dir():
        pytest.skip(f"no real cells: {folder} (or BLASTSCOPE_SHARED) has no C-NMC_training_data")
    return folder


def draw_cell(seed: int = 0, side: int = 450, radius: int = 60) -> np.ndarray:
    """Draw one violet disc with some texture on black: uint8, side × side × 3, RGB."""
    rng = np.random.default_rng(seed)
    image = np.zeros((side, side, 3), np.uint8)
    centre = (side // 2 + int(rng.integers(-20, 20)), side // 2 + int(rng.integers(-20, 20)))
    colour = tuple(int(v) for v in rng.integers((100, 40, 120), (160, 90, 200)))
    cv2.circle(image, centre, radius, colour, -1)
    noise = rng.integers(0, 40, image.shape, np.uint8)
    return np.where(image > 0, image + noise, 0).astype(np.uint8)


def write_cell(path: Path, pixels: np.ndarray) -> Path:
    """Write RGB pixels to an image file of any format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.ascontiguousarray(pixels[:, :, ::-1]))
    return path


@pytest.fixture(autouse=True, scope="module")
def plots(request: pytest.FixtureRequest) -> Iterator[None]:
    """Draw plots only in files that say ``DRAWS_PLOTS = True``; drawing takes most of a report."""
    if getattr(request.module, "DRAWS_PLOTS", False):
        yield
        return
    from matplotlib.figure import Figure

    drawn = Figure.savefig
    Figure.savefig = _blank  # type: ignore[method-assign]
    yield
    Figure.savefig = drawn  # type: ignore[method-assign]


def _blank(figure: object, target: Path | str | BytesIO, **_: object) -> None:
    """Write an empty picture of the kind that is asked for."""
    if isinstance(target, BytesIO):
        target.write(BLANK_PNG)
    else:
        svg = ".svg" in Path(target).name
        Path(target).write_bytes(BLANK_SVG if svg else BLANK_PNG)


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., Path]:
    """Write a small data set in the real layout and return its folder."""

    def write(
        subjects: int = 4, per_subject: int = 5, side: int = 120, folder: str = "data"
    ) -> Path:
        root = tmp_path / folder
        for subject in range(subjects):
            for label, name, radius in (
                ("all", f"{subject + 1}", 30),
                ("hem", f"H{subject + 1}", 22),
            ):
                for k in range(per_subject):
                    seed = subject * 1000 + k * 2 + (label == "all")
                    stem = f"UID_{name}_{k + 1}_1_{label}"
                    pixels = draw_cell(seed, side, radius)
                    write_cell(root / f"fold_{subject % 3}" / label / f"{stem}.bmp", pixels)
        return root

    return write


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    """Two small finished runs; tests that only read cells need not import torch."""
    from tests.trained import train_two

    return train_two(tmp_path_factory.mktemp("trained"))
