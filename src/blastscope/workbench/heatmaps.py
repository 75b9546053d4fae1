"""Heatmaps on request: a process of its own computes one, so that PyTorch's memory goes with it.

``python -m blastscope.workbench.heatmaps`` is that process; nothing else here imports PyTorch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.data.crop import Box, Pixels, locate, prepared
from blastscope.data.images import read_image
from blastscope.errors import BlastscopeError
from blastscope.explanation.tables import METHODS
from blastscope.workbench.contact_sheets import png
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.models import bundle_of
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.tables import Heatmap, QueuedJob, StoredModel

if TYPE_CHECKING:
    from blastscope.explanation.cell_image import CellImage, Map
    from blastscope.explanation.models import ExplainedModels

SECONDS = {"grad-cam": 10, "grad-cam++": 10, "occlusion": 60}
"""How long one takes on a processor, about."""
WARNING = (
    "A heatmap shows where a network's logit changes, not why, and not whether the call is right. "
    "Networks of this kind also colour cells that they call wrongly."
)
_MOST_SECONDS = 600
_LOOK_SECONDS = 0.5
COLOURS = {"all": (213, 94, 0), "hem": (86, 180, 233)}
"""Vermilion for ALL and sky blue for normal, of the palette of Okabe and Ito."""


def reason_against() -> str | None:
    """Say why no heatmap can be computed here; None if one can."""
    if find_spec("torch") is None or find_spec("captum") is None:
        return "needs PyTorch: install it with pip install 'blastscope[train]'"
    return None


def states(session: Session, model_id: int, sha: str) -> list[dict[str, Any]]:
    """Return for each method what became of a cell's heatmap."""
    done = dict(
        session.execute(
            select(Heatmap.method, Heatmap.image).where(
                Heatmap.model_id == model_id, Heatmap.sha == sha
            )
        )
        .tuples()
        .all()
    )
    jobs = session.scalars(
        select(QueuedJob).where(QueuedJob.kind == "heatmap").order_by(QueuedJob.id.desc())
    )
    latest: dict[str, QueuedJob] = {}
    for one in jobs:
        if one.about.get("sha") == sha and one.about.get("model") == model_id:
            latest.setdefault(one.about["method"], one)
    against = reason_against()
    told = []
    for method in METHODS:
        job: QueuedJob | None = latest.get(method)
        state = "none" if job is None or job.state in ("done", "cancelled") else job.state
        reason = None if job is None else job.reason
        if method in done:
            state, reason = "done", None
        elif against is not None:
            state, reason = "not-applicable", against
        told.append(
            {
                "method": method, "name": METHODS[method], "state": state, "reason": reason,
                "job": None if job is None else job.id, "seconds": SECONDS[method],
            }
        )  # fmt: skip
    return told


def compute(
    database: Database, images: ImageStore, about: dict[str, Any], goes_on: Callable[[], bool]
) -> None:
    """Compute a heatmap in a process of its own and keep it.

    Raises:
        BlastscopeError: if it cannot be computed, with the reason.
    """
    against = reason_against()
    if against is not None:
        raise BlastscopeError(against)
    with database.read() as session:
        model = session.get_one(StoredModel, about["model"])
    bundle_of(model)  # another bundle in its place would draw under this one's name
    with tempfile.TemporaryDirectory(prefix="blastscope-") as folder:
        out = Path(folder) / "heatmap.png"
        asked = {
            "paths": model.paths, "image": str(images.path(about["sha"])),
            "method": about["method"], "called": about["called"], "out": str(out),
        }  # fmt: skip
        told = _run(asked, goes_on)
        if told is None:
            return
        if told or not out.is_file():
            raise BlastscopeError(told or "its process ended without a result")
        sha = images.put(out.read_bytes())
    with database.write() as session:
        session.merge(
            Heatmap(
                model_id=about["model"], sha=about["sha"], method=about["method"], image=sha
            )
        )  # fmt: skip


def _run(asked: dict[str, Any], goes_on: Callable[[], bool]) -> str | None:
    """Run the process; return why it failed, "" if it did not, None if it was cancelled."""
    process = subprocess.Popen(
        [sys.executable, "-m", "blastscope.workbench.heatmaps", json.dumps(asked)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    for _ in range(int(_MOST_SECONDS / _LOOK_SECONDS)):
        try:
            told, _rest = process.communicate(timeout=_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            if goes_on():
                continue
            process.kill()
            process.communicate()
            return None
        if process.returncode:
            return told.strip() or f"its process ended with status {process.returncode}"
        return ""
    process.kill()
    process.communicate()
    return f"took longer than {_MOST_SECONDS // 60} minutes"


def main() -> None:
    """Compute the heatmap that the argument asks for, and print the reason if that fails."""
    from blastscope.process import tune_process

    tune_process()
    asked = json.loads(sys.argv[1])
    try:
        pixels = read_image(Path(asked["image"])).pixels
        overlay = _overlay(asked["paths"], pixels, asked["method"], asked["called"])
        Path(asked["out"]).write_bytes(png(overlay))
    except Exception as error:  # told to the person who asked, whatever it is
        print(str(error) or type(error).__name__)
        sys.exit(3)
    os._exit(0)  # taking PyTorch down tidily would only take time


def _overlay(paths: Sequence[str], pixels: Pixels, method: str, called: str) -> Pixels:
    """Return the heatmap of a call over a whole image, uint8, (H, W, 4): colour and strength."""
    import torch

    from blastscope.explanation.cell_image import make_picture
    from blastscope.explanation.models import open_models

    explained = open_models(paths, torch.device("cpu"), as_one=True)
    contour = explained.models[0].settings.contour
    shown = make_picture(pixels, locate(pixels, contour).box)
    laid = _laid(explained, shown, pixels, method, called)
    strength = laid / max(float(laid.max()), 1e-12)
    whole = np.zeros((*pixels.shape[:2], 4), np.uint8)
    whole[..., :3] = COLOURS[called]
    whole[..., 3] = _on_image(np.round(255 * strength).astype(np.uint8), shown.box, pixels)
    return whole


def _laid(
    explained: ExplainedModels, shown: CellImage, pixels: Pixels, method: str, called: str
) -> Map:
    """Return the attribution to a call over the crop, the networks' with their weights."""
    import torch

    from blastscope.explanation.attribution import attribute
    from blastscope.explanation.cell_image import make_picture, moved

    count = len(explained.models)
    combination = explained.combination
    weights = (1 / count,) * count if combination is None else combination.weights
    total = np.zeros((shown.side, shown.side), np.float32)
    for model, weight in zip(explained.models, weights, strict=True):
        by = model.settings
        own = make_picture(pixels, locate(pixels, by.contour).box)
        seen = prepared(pixels, own.box, by.size, by.scale, by.clahe, by.stain)
        batch = torch.from_numpy(seen[None]).permute(0, 3, 1, 2)
        found = attribute(model, batch, method).at_size(by.size)
        part = found.for_all[0] if called == "all" else found.for_normal[0]
        part = part / max(float(part.sum()), 1e-12)
        total += np.float32(weight) * moved(own.on_crop(part, by), own, shown)
    return total


def _on_image(crop: Pixels, box: Box, pixels: Pixels) -> Pixels:
    """Lay what is over the square crop of a box on the whole image."""
    side = len(crop)
    top, left = box.y - (side - box.h) // 2, box.x - (side - box.w) // 2
    whole = np.zeros(pixels.shape[:2], np.uint8)
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(whole.shape[0], top + side), min(whole.shape[1], left + side)
    whole[y0:y1, x0:x1] = crop[y0 - top : y1 - top, x0 - left : x1 - left]
    return whole


if __name__ == "__main__":
    main()
