"""Fill a workbench with a case of scored cells at once, without a model's work."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.box import in_the_box
from blastscope.workbench.cases import bump, create_case
from blastscope.workbench.contact_sheets import KINDS, TILE, png, sheet, spans
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.models import register
from blastscope.workbench.people import local_person, who
from blastscope.workbench.preparation import draw_order
from blastscope.workbench.store.database import Database, sqlite_url
from blastscope.workbench.store.tables import Case, Cell, Score, Scoring, Sheet, StoredModel, Upload

THRESHOLD = 0.6


def fake_model(session: Session, name: str = "made up") -> StoredModel:
    """A model that exists in the table only."""
    found = session.scalar(select(StoredModel).where(StoredModel.name == name))
    if found is None:
        facts = {"threshold": THRESHOLD, "calibrated": True, "decides": True, "networks": ["net"]}
        found = StoredModel(
            digest=f"sha256:{name}", name=name, paths=["/nowhere"], synthetic=True, facts=facts
        )
        session.add(found)
        session.flush()
    return found


def fill_folder(folder: Path, cells: int, identifier: str = "Filled", **more: object) -> int:
    """Make a case in a workbench's folder that is served later; the model in the box is named."""
    database = Database(sqlite_url(folder))
    images = ImageStore(folder / "images", folder / "incoming")
    database.migrate()
    with database.write() as session:
        case = fill_case(
            session, images, register(session, [in_the_box()]), cells, identifier, **more
        )
        found = case.id
    database.close()
    return found


def fill_case(
    session: Session,
    images: ImageStore,
    model: StoredModel,
    cells: int,
    identifier: str = "Filled",
    *,
    subjects: int = 1,
    sampling: str = "all",
    blind_first: bool = False,
    seed: int = 1,
    with_sheets: bool = True,
) -> Case:
    """Make a case in review, with random scores, names that give labels away, and sheets."""
    rng = np.random.default_rng(seed)
    person = who(local_person(session))
    case = create_case(
        session, person, model, identifier=identifier, material="marrow", sampling=sampling,
        blind_first=blind_first,
    )  # fmt: skip
    case.seed = seed
    scoring = Scoring(case_id=case.id, model_id=model.id, subjects=[])
    session.add(scoring)
    session.flush()
    p = rng.beta(0.6, 0.8, cells)
    made = []
    for k in range(cells):
        sha = _keep(images, _picture(k + 1, p[k]))
        name = f"UID_{900 + k % subjects}_{k}_1_{'all' if p[k] > 0.5 else 'hem'}"
        upload = Upload(
            case_id=case.id, name=f"{name}.png", kind="image", sha=sha, bytes=1, state="taken",
            cell=k + 1,
        )  # fmt: skip
        cell = Cell(
            case_id=case.id, n=k + 1, sha=sha, file=f"{name}.png", name=name,
            subject=f"S{1 + k % subjects}", prepared=True,
            about={"width": 60, "height": 60, "box": [10, 10, 40, 40], "flags": []},
        )  # fmt: skip
        made.append(cell)
        session.add_all([upload, cell])
    session.flush()
    ood = rng.random(cells) < 0.02
    session.add_all(
        Score(
            scoring_id=scoring.id, cell_id=cell.id, p_all=float(p[k]), p_raw=float(p[k] ** 2),
            ood_score=1.5 if ood[k] else 0.5, ood=bool(ood[k]),
            called=None if ood[k] else "all" if p[k] > THRESHOLD else "hem",
            confidence=None if ood[k] else float(max(p[k], 1 - p[k])),
            refer=bool(ood[k] or abs(p[k] - THRESHOLD) < 0.2), networks=[float(p[k])],
        )
        for k, cell in enumerate(made)
    )  # fmt: skip
    if with_sheets:
        _add_sheets(session, images, case, p)
    case.state, case.scoring_id = "review", scoring.id
    draw_order(session, case)
    bump(case)
    session.flush()
    return case


def _keep(images: ImageStore, content: bytes) -> str:
    """Keep an image as ``ImageStore.put`` does, without waiting for the disk."""
    sha = hashlib.sha256(content).hexdigest()
    place = images.path(sha)
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    return sha


def _picture(number: int, p: float) -> bytes:
    pixels = np.zeros((60, 60, 3), np.uint8)
    cv2.circle(pixels, (30, 30), 20, (120 + int(100 * p), 60, 200), -1)
    pixels[30, 30] = (number % 251 + 1, number // 251 % 251 + 1, 9)  # no two alike
    return png(pixels)


def _add_sheets(session: Session, images: ImageStore, case: Case, p: np.ndarray) -> None:
    for span in spans(len(p)):
        tiles = {}
        for place, n in enumerate(span):
            tile = np.zeros((TILE, TILE, 3), np.uint8)
            cv2.circle(tile, (64, 64), 40, (120 + int(100 * p[n - 1]), 60, 200), -1)
            cv2.putText(tile, str(n), (30, 70), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255))
            tiles[place] = tile
        sha = images.put(sheet(tiles, len(span)))
        session.add_all(
            Sheet(case_id=case.id, kind=kind, number=span[0], sha=sha, count=len(span))
            for kind in KINDS
        )
