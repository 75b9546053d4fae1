"""Cells that two fields hold are found by their pixels, and counted once if a person says so."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest

from blastscope.data.images import read_image
from blastscope.data.inspection import inspect_image
from blastscope.data.synthetic import write_synthetic
from blastscope.workbench.cases import bump
from blastscope.workbench.doubles import note_doubles, possible_doubles, see
from blastscope.workbench.sheets import png
from blastscope.workbench.store.tables import Case, Cell, SmearField, Upload


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
    exported = local.get(f"/api/v1/cases/{case}/export/cells.csv").text.splitlines()
    assert exported[12].split(",")[exported[0].split(",").index("double_of")] == "1"
