"""Cells that two fields hold are found by their pixels, and counted once if a person says so."""

from __future__ import annotations

import io
import zipfile
from functools import partial

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blastscope.box import in_the_box
from blastscope.data.images import read_image
from blastscope.data.inspection import inspect_image
from blastscope.data.synthetic import write_synthetic
from blastscope.decision.blast_share import blast_share
from blastscope.workbench.cases import bump
from blastscope.workbench.cell_table import count_once
from blastscope.workbench.contact_sheets import png
from blastscope.workbench.doubles import note_doubles, possible_doubles, see
from blastscope.workbench.models import open_bundled
from blastscope.workbench.scoring import _sum_up
from blastscope.workbench.store.tables import Case, Cell, Score, Scoring, SmearField, Upload


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Synthetic cells, each in its box."""
    folder = tmp_path_factory.mktemp("cells") / "cells"
    write_synthetic(folder, 24, 2, seed=5)
    found = []
    for path in sorted(folder.rglob("*.bmp")):
        seen = inspect_image(read_image(path))
        box = seen.located.box
        found.append(seen.pixels[box.y : box.y + box.h, box.x : box.x + box.w])
    return found


def photographed_again(pixels, rng):
    """The same cell in another field: a shift, other light, noise, and a JPEG of it."""
    height, width = pixels.shape[:2]
    shift = np.float32([[1, 0, 0.4], [0, 1, 0.3]])
    moved = cv2.warpAffine(pixels, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)[2:, 1:]
    noisy = np.clip(moved * 1.04 + rng.normal(0, 4, moved.shape), 0, 255).astype(np.uint8)
    _, coded = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)


def test_the_same_cells_are_found_and_no_others(pictures):
    rng = np.random.default_rng(1)
    again = [photographed_again(one, rng) for one in pictures[::2]]
    cells = [see(k + 1, 1, "S", partial(np.copy, one)) for k, one in enumerate(pictures)]
    later = [see(k + 25, 2, "S", partial(np.copy, one)) for k, one in enumerate(again)]
    assert possible_doubles([*cells, *later]) == {k + 25: 2 * k + 1 for k in range(12)}
    third = [see(40, 3, "S", partial(np.copy, again[3]))]
    assert possible_doubles([*cells, *later, *third])[40] == 7  # the first of the three
    other = [see(50, 2, "another", partial(np.copy, again[0]))]
    assert possible_doubles([*cells, *other]) == {}
    assert possible_doubles([]) == {}


def test_a_double_is_counted_once_when_a_reader_says_so(served, local, pictures):
    case = served.case(12)
    bench = served.bench
    again = photographed_again(pictures[0], np.random.default_rng(2))
    with bench.database.write() as session:
        session.get(Case, case).content = "fields"
        upload = session.query(Upload).filter_by(case_id=case).first().id
        session.add_all(
            SmearField(
                case_id=case, number=number, upload_id=upload, file="f.png", width=9, height=9,
                um_per_pixel=0.1, image="0", refused=[],
            )
            for number in (1, 2)
        )  # fmt: skip
        for cell in session.query(Cell).filter_by(case_id=case):
            pixels = again if cell.n == 12 else pictures[cell.n - 1]
            height, width = pixels.shape[:2]
            cell.sha, cell.field = bench.images.put(png(pixels)), 1 + (cell.n > 6)
            cell.place, cell.quality = [0, 0, width, height], 0.9
            cell.about = {"box": [0, 0, width, height]}
        bump(session.get(Case, case))
    note_doubles(bench.database, bench.images, case)
    with bench.database.write() as session:
        bump(session.get(Case, case))
    columns = local.cells(case)["columns"]
    assert columns["double_of"] == [None] * 11 + [1]
    assert local.get(f"/api/v1/cases/{case}/cells/12").json()["double_of"] == 1

    def counted():
        lines = local.get(f"/api/v1/cases/{case}/shares").json()
        find = local.get(f"/api/v1/cases/{case}/cells/find?filter=doubles").json()["cells"]
        return lines["doubles"], find, lines["lines"][2]["blasts"], lines["lines"][2]["of"]

    local.label(case, list(range(1, 12)), "N")
    local.label(case, [1, 12], "A")
    assert counted() == (1, [12], 2, 12)
    local.label(case, [12], "X")
    assert counted() == (0, [], 1, 11)
    local.events(case, {"kind": "undo"})
    local.label(case, [1], "X")
    assert counted() == (0, [], 1, 11)
    local.label(case, [2], "X")  # not a cell
    address = f"/api/v1/cases/{case}/export"
    frame = pl.read_csv(local.get(f"{address}/cells.csv").content)
    assert frame["double_of"].to_list() == [None] * 11 + [1]
    assert frame.filter(pl.col("counted_already"))["n"].to_list() == [1]
    left_out = local.get(address).json()["left_out"]
    shares = local.get(f"/api/v1/cases/{case}/shares").json()
    for told in (left_out["X"], left_out["counted_already"], shares["no_cell"]):
        assert told == 1
    with zipfile.ZipFile(io.BytesIO(local.get(f"{address}/dataset.zip").content)) as archive:
        assert len(archive.namelist()) == 10 + 2
        assert "1 that are not cells, 1 of overlapping fields" in str(archive.read("README.txt"))
    assert "counted already, in a field" in local.get(f"{address}/report.html").text
    told = local.get(f"/api/v1/cases/{case}/sign").json()
    names = ("unlabelled_referred", "unsure", "open_disagreements")
    body = {"rev": told["rev"], "seen": {name: len(told[name]) for name in names}}
    assert local.post(f"/api/v1/cases/{case}/sign", json=body).status_code == 200
    signed = local.get(f"/api/v1/cases/{case}/sign").json()["signatures"][0]["counts"]
    assert (signed["X"], signed["counted_already"]) == (2, 1)


def test_the_model_alone_counts_each_cell_once(served, local):
    case = served.case(14)
    model = open_bundled([in_the_box()])
    ood, lymphoblasts = [2, 13], [1, 3, 4, 11, 12]
    doubles = {11: 2, 12: 1, 13: 1, 14: 1}  # the model does not call 2
    with served.bench.database.write() as session:
        row = session.get(Case, case)
        row.content = "fields"
        scores = {one.cell_id: one for one in session.query(Score)}
        for cell in session.query(Cell).filter_by(case_id=case):
            cell.about = {**cell.about, "double_of": doubles.get(cell.n)}
            one = scores[cell.id]
            one.ood, one.p_all = cell.n in ood, 0.95 if cell.n in lymphoblasts else 0.05
            one.called = None if one.ood else "all" if one.p_all > 0.5 else "hem"
        bump(row)
        scoring = session.get(Scoring, row.scoring_id)
        _sum_up(session, scoring, model)
        (kept,) = scoring.subjects
    # Ten cells: 1 (with 12, 13 and 14), 11 (with 2), and 3 to 10. ALL are 1, 3, 4 and 11.
    assert (kept["cells"], kept["called"], kept["doubles"]) == (10, 0.4, 4)
    line = local.get(f"/api/v1/cases/{case}/shares").json()["lines"][0]
    by_hand = blast_share(4, 10, model.decision.decision.reference)
    assert (line["of"], line["blasts"], line["doubles"], line["uncounted"]) == (10, 4, 4, 0)
    assert (line["share"], line["low"], line["high"]) == (
        (by_hand.share, by_hand.low, by_hand.high) if by_hand.estimable else (None,) * 3
    )
    local.label(case, list(range(1, 15)), "N")
    lines = local.get(f"/api/v1/cases/{case}/shares").json()["lines"]
    assert (lines[0]["of"], lines[2]["of"]) == (10, 14)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=12))
def test_every_group_of_doubles_has_one_that_counts(cells):
    n = np.arange(1, len(cells) + 1)
    double_of = np.array([of if 0 < of < k else 0 for k, (of, _) in enumerate(cells, 1)], int)
    double_of[[k for k, of in enumerate(double_of) if of and double_of[of - 1]]] = 0
    called = np.array([one for _, one in cells], bool)
    once = count_once(n, double_of, called)
    for first in n[double_of == 0]:
        group = (n == first) | (double_of == first)
        assert once[group].sum() == 1
        assert called[once & group].any() == called[group].any()
