"""What leaves a case: its cells as a table, a report, and a data set to train on."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
from collections import Counter
from datetime import UTC, datetime
from typing import IO, Any

import numpy as np
import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope import __version__
from blastscope.data.synthetic import MARKER
from blastscope.errors import BlastscopeError
from blastscope.io.tables import METADATA_KEY
from blastscope.report.html import render
from blastscope.workbench.cases import case_facts, file_progress, names_of
from blastscope.workbench.cell_table import CALLS, CellTable
from blastscope.workbench.context import Workbench
from blastscope.workbench.fields import fields_json
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.models import bundle_of, find_model
from blastscope.workbench.people import Who
from blastscope.workbench.refusal import conflict
from blastscope.workbench.review_state import LABELS
from blastscope.workbench.reviews import CODES
from blastscope.workbench.shares import neither
from blastscope.workbench.signing import signatures
from blastscope.workbench.store.tables import (
    Case,
    Cell,
    Reading,
    ReviewEvent,
    Score,
    StoredModel,
)
from blastscope.workbench.summaries import (
    Reviewed,
    readings_of,
    reviewed,
    second_label,
    shares_json,
)
from blastscope.workbench.to_come import to_come, why_partial
from blastscope.workbench.uploads import sender_of_each, senders_of

FOLDERS = {"A": "all", "N": "hem"}
"""The folder of a data set for each label that a model can learn."""
_SUFFIXES = {"BMP": "bmp", "PNG": "png", "TIFF": "tif", "JPEG": "jpg", "WEBP": "webp"}
_TABLE = {"table": "workbench cells", "version": 3, "made_by": f"blastscope {__version__}"}


def left_out(table: CellTable, together: Reviewed) -> dict[str, int]:
    """Count the cells that a data set leaves out, by why."""
    label, usable = together.label, table.usable
    doubles = table.counted_already(label)
    open_ = np.isin(np.arange(1, len(table) + 1), list(together.open))
    return {
        "U": int((usable & ~open_ & (label == CODES["U"])).sum()),
        "X": int((usable & ~open_ & ~doubles & (label == CODES["X"])).sum()),
        "counted_already": int((usable & ~open_ & doubles).sum()),
        "disagreements": int((usable & open_).sum()),
        "unlabelled": int((usable & ~open_ & (label == 0)).sum()),
        "unusable": int((~usable).sum()),
    }


def export_json(bench: Workbench, session: Session, case: Case) -> dict[str, Any]:
    """Return what an export holds and what it leaves out."""
    table = bench.tables.of(session, case)
    together = reviewed(bench, session, case, table)
    missing, awaited = left_out(table, together), to_come(session, case, table)
    why_not = why_partial(session, case, awaited)
    address = f"/api/v1/cases/{case.id}/export/"
    names = ("cells.csv", "cells.parquet", "report.html", "dataset.zip")
    return {
        "complete": why_not is None and not awaited,
        "why_not": why_not,
        **awaited.as_json(),
        "without": str(awaited),
        "cells": int(table.usable.sum()),
        "with_label": int((table.usable & (together.label > 0)).sum()),
        "in_dataset": len(table) - sum(missing.values()),  # what is unusable is in both
        "left_out": missing,
        "doubles": int(table.doubles(together.label).sum()),
        "neither": neither(table, together.label, table.usable),
        "files": [{"name": name, "address": address + name} for name in names],
    }


def cells_frame(bench: Workbench, session: Session, case: Case) -> pl.DataFrame:
    """Return a row a cell: what people and the model said of it.

    ``case_complete`` is false in all rows if the case was signed without files or scores.
    """
    table = bench.tables.of(session, case)
    together = reviewed(bench, session, case, table)
    first = readings_of(session, case.id)[0]
    names, model = names_of(session), find_model(session, case.model_id)
    scores, places = _scores(session, case), _places(session, case)
    senders = sender_of_each(session, case.id)
    complete, times = not to_come(session, case, table), _times(session, first)
    with bench.reviews.view(session, first.id, len(table)) as view:
        state = view.state
        stands = {n: state.standing("label", n) for n in range(1, len(table) + 1)}
        decided = {n: state.standing("adjudicate", n) for n in range(1, len(table) + 1)}
        own = view.label[: len(table)].copy()
        notes, flags = state.values("note"), state.values("flag")
        final = view.final[: len(table)].copy()
    second = second_label(bench, session, case, table)
    if second is None:
        second = np.zeros(len(table), np.int8)
    counted_already = table.counted_already(together.label)
    letters = (None, *LABELS)
    rows = []
    for k, sha in enumerate(table.sha):
        n, one = k + 1, scores.get(table.ids[k])
        stood = None
        if together.label[k]:
            stood = decided[n] if final[k] else stands[n]
        rows.append(
            {
                "case": case.identifier, "case_complete": complete, "n": n,
                "file": table.file[k], "cell": table.name[k],
                "subject": table.subject[k], "sha256": sha,
                "label": letters[together.label[k]],
                "reader": None if stood is None else names.get(stood.person),
                "labelled_at": None if stood is None else times.get(stood.id),
                "first_label": letters[own[k]], "second_label": letters[second[k]],
                "adjudicated": letters[final[k]],
                "open_disagreement": n in together.open,
                "flagged": flags.get(n) is True, "note": notes.get(n),
                "in_sample": bool(table.in_sample[k]),
                "sent_by": senders.get(table.file[k]), "model": model.name,
                "p_all": one and one.p_all, "p_raw": one and one.p_raw,
                "called": CALLS.get((one and one.called) or ""),
                "confidence": one and one.confidence,
                "refer": one and one.refer, "out_of_distribution": one and one.ood,
                "ood_score": one and one.ood_score, "problem": table.problem[k],
                "double_of": int(table.double_of[k]) or None if len(table.double_of) else None,
                "counted_already": bool(counted_already[k]),
                **places.get(n, {}),
            }
        )  # fmt: skip
    return pl.DataFrame(rows, _SCHEMA, infer_schema_length=None)


_TEXT, _NUMBER, _YES = pl.String(), pl.Float64(), pl.Boolean()
_SCHEMA = {
    "case": _TEXT, "case_complete": _YES, "n": pl.Int64(), "file": _TEXT, "cell": _TEXT,
    "subject": _TEXT, "sha256": _TEXT, "label": _TEXT, "reader": _TEXT, "labelled_at": _TEXT,
    "first_label": _TEXT,
    "second_label": _TEXT, "adjudicated": _TEXT, "open_disagreement": _YES, "flagged": _YES,
    "note": _TEXT, "in_sample": _YES, "sent_by": _TEXT, "model": _TEXT,
    "p_all": _NUMBER, "p_raw": _NUMBER, "called": _TEXT,
    "confidence": _NUMBER, "refer": _YES, "out_of_distribution": _YES, "ood_score": _NUMBER,
    "problem": _TEXT, "double_of": pl.Int64(), "counted_already": _YES,
    "x": pl.Int64(), "y": pl.Int64(), "w": pl.Int64(), "h": pl.Int64(),
    "quality": _NUMBER,
}  # fmt: skip
"""The columns of the table; those from ``double_of`` on tell of cells of whole fields only."""


def _scores(session: Session, case: Case) -> dict[int, Score]:
    found = session.scalars(select(Score).where(Score.scoring_id == (case.scoring_id or -1)))
    return {one.cell_id: one for one in found}


def _times(session: Session, reading: Reading) -> dict[str, str]:
    """Return when each label of a reading, and each decision on it, was given, in UTC."""
    found = select(ReviewEvent.id, ReviewEvent.at).where(
        ReviewEvent.reading_id == reading.id, ReviewEvent.kind.in_(("label", "adjudicate"))
    )
    return {id: at.isoformat(timespec="seconds") for id, at in session.execute(found)}


def _places(session: Session, case: Case) -> dict[int, dict[str, Any]]:
    """Return the box of each cell in its field, whose file is the cell's, by the cell's number."""
    found = select(Cell.n, Cell.place, Cell.quality).where(
        Cell.case_id == case.id, Cell.field.is_not(None)
    )
    return {
        n: {**dict(zip("xywh", place or (), strict=False)), "quality": quality}
        for n, place, quality in session.execute(found)
    }


def formula_safe(text: str) -> str:
    """Return text that a spreadsheet takes as text, not as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def cells_csv(frame: pl.DataFrame) -> str:
    """Return cells as CSV; text that a spreadsheet would run is made harmless."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(frame.columns)
    for row in frame.iter_rows():
        writer.writerow([formula_safe(one) if isinstance(one, str) else one for one in row])
    return content.getvalue()


def cells_parquet(frame: pl.DataFrame) -> bytes:
    """Return cells as a Parquet file."""
    content = io.BytesIO()
    frame.write_parquet(content, metadata={METADATA_KEY: json.dumps(_TABLE)})
    return content.getvalue()


def dataset_zip(bench: Workbench, session: Session, case: Case) -> IO[bytes]:
    """Return a data set as a zip in a temporary file: ``all/``, ``hem/`` and ``labels.csv``.

    ``check``, ``prepare`` and ``train`` take it as it is. Unsure cells, what is not a cell, open
    disagreements and cells without a label are left out, and counted in ``README.txt``.
    """
    table = bench.tables.of(session, case)
    together = reviewed(bench, session, case, table)
    found = session.execute(select(Cell.n, Cell.about).where(Cell.case_id == case.id))
    formats: dict[int, dict[str, Any]] = dict(found.tuples().all())
    made = tempfile.TemporaryFile()  # noqa: SIM115, the answer closes it
    labels = io.StringIO()
    writer = csv.writer(labels, lineterminator="\n")
    writer.writerow(["file", "label", "subject"])
    counted: Counter[str] = Counter()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for k, sha in enumerate(table.sha):
            folder = FOLDERS.get((None, *LABELS)[together.label[k]] or "")
            if folder is None or not table.usable[k] or k + 1 in together.open:
                continue
            suffix = _SUFFIXES.get(str(formats[k + 1].get("format")), "png")
            name = f"{folder}/case{case.id}-cell{k + 1:05d}.{suffix}"
            archive.writestr(name, _content(bench.images, sha, k + 1))
            writer.writerow([name, folder, table.subject[k]])
            counted[folder] += 1
        archive.writestr("labels.csv", labels.getvalue())
        without = str(to_come(session, case, table))
        archive.writestr("README.txt", _readme(case, counted, left_out(table, together), without))
        if case.synthetic:
            archive.writestr(MARKER, "Synthetic cells, labelled in the workbench.\n")
    made.seek(0)
    return made


def _content(images: ImageStore, sha: str, n: int) -> bytes:
    try:
        return images.path(sha).read_bytes()
    except FileNotFoundError as error:
        raise conflict(
            "image-missing",
            f"The image of cell {n:,} is not in the workbench's folder any more: restore a backup.",
        ) from error


def _readme(case: Case, counted: Counter[str], missing: dict[str, int], without: str) -> str:
    lines = [
        f"Cells of case {case.identifier}, labelled in blastscope's workbench.",
        f"all (ALL): {counted['all']}, hem (normal): {counted['hem']}.",
        f"Left out: {missing['U']} unsure, {missing['X']} that are not cells, "
        f"{missing['counted_already']} of overlapping fields that are counted already, "
        f"{missing['disagreements']} on which readers disagree, {missing['unlabelled']} without a "
        f"label, {missing['unusable']} whose image cannot be used.",
        *([f"Not complete: the case was signed although {without}."] if without else []),
        "labels.csv names each file's label and subject.",
    ]
    return "\n".join(lines) + "\n"


def _worth(model: StoredModel) -> str:
    """Say what a model is worth, as its card does, or that its bundle cannot be asked."""
    # SciPy's statistics load slowly
    from blastscope.report.generalization_text import generalization_text

    try:
        manifest = bundle_of(model).manifest
    except BlastscopeError:
        return "Its limits cannot be told: its bundle is gone, or another lies in its place."
    return generalization_text(manifest, model.synthetic)


def report_html(bench: Workbench, session: Session, case: Case, who: Who) -> str:
    """Return the report of a case as one self-contained page."""
    table = bench.tables.of(session, case)
    together = reviewed(bench, session, case, table)
    model = find_model(session, case.model_id)
    names = names_of(session)
    labels = {name: int((table.usable & (together.label == CODES[name])).sum()) for name in LABELS}
    doubles = int(table.counted_already(together.label).sum())
    return render(
        "workbench_case.html",
        title=f"Case {case.identifier}",
        synthetic=case.synthetic or model.synthetic,
        case=case_facts(case, names.get(case.created_by, "")),
        model=model,
        worth=_worth(model),
        cells=int(table.usable.sum()),
        labels=labels | {"X": labels["X"] - doubles},
        counted_already=doubles,
        missing=left_out(table, together),
        files=file_progress(session, case),
        senders=senders_of(session, case.id),
        to_come=str(to_come(session, case, table)),
        fields=fields_json(session, case, blind=False) if case.content == "fields" else None,
        shares=shares_json(bench, session, case),
        signatures=signatures(session, case.id),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        by=who.name,
    )
