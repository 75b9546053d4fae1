"""``normalize-stain``: images in, images out, and a table of what was done."""

from __future__ import annotations

import zipfile

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

import blastscope as bs
from blastscope.cli import app
from blastscope.prediction import stain_images
from blastscope.stain.normalize import foreground, measure_stain, normalize_pixels
from tests.conftest import draw_cell, write_cell
from tests.stain.made import image_of, two_stain_density


def read(path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.fixture
def reference(tmp_path):
    return write_cell(tmp_path / "reference.png", draw_cell(7, 120, 30)[..., ::-1])


def test_folder_keeps_its_layout_and_can_be_prepared(dataset, tmp_path, reference):
    root = dataset(2, 2)
    made = bs.normalize_stain(root, method="reinhard", out=tmp_path / "out", reference=reference)
    assert made.refused == 0
    wanted = measure_stain(read(reference), "reinhard")
    for path in root.rglob("*.bmp"):
        written = (tmp_path / "out" / path.relative_to(root)).with_suffix(".png")
        np.testing.assert_array_equal(read(written), normalize_pixels(read(path), wanted).pixels)
        assert (read(written)[~foreground(read(path))] == 0).all()
    table = pl.read_csv(tmp_path / "out" / "stain.csv")
    assert table.columns == list(stain_images.SCHEMA)
    assert table["label"].value_counts().sort("label")["count"].to_list() == [4, 4]
    found = bs.check(tmp_path / "out").found
    assert (found.cells, found.per_class) == (8, {"all": 4, "hem": 4})
    assert made.as_json()["images"][0]["wedge"] is None
    assert "<html" in made.to_html()


def test_it_goes_on_where_it_stopped_and_is_done_once(dataset, tmp_path, reference, monkeypatch):
    root, out = dataset(2, 2), tmp_path / "out"
    monkeypatch.setattr("blastscope.prediction.journal.ROWS", 2)
    seen, own = [], stain_images.normalize_pixels

    def until_the_fifth(pixels, wanted):
        seen.append(1)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return own(pixels, wanted)

    monkeypatch.setattr(stain_images, "normalize_pixels", until_the_fifth)
    monkeypatch.setattr(stain_images, "in_order", lambda work, items, ahead: map(work, items))
    with pytest.raises(KeyboardInterrupt):
        bs.normalize_stain(root, method="reinhard", out=out, reference=reference)
    assert not (out / "stain.csv").exists()
    made = bs.normalize_stain(root, method="reinhard", out=out, reference=reference)
    assert len(seen) == 5 + 4  # the four whose rows were kept are not done again
    assert made.to_frame().height == 8
    assert len(list(out.rglob("*.png"))) == 8
    assert not list(out.glob(".stain*"))
    again = bs.normalize_stain(root, method="reinhard", out=out, reference=reference)
    assert again.made.already
    assert again.to_frame().equals(made.to_frame())
    with pytest.raises(bs.BlastscopeError, match="differs"):
        bs.normalize_stain(root, method="macenko", out=out, reference=reference)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(bs.BlastscopeError, match="letter"):
        bs.normalize_stain(root, method="reinhard", out=tmp_path / "mine")


def test_what_cannot_be_normalized_is_a_row_with_its_reason(tmp_path, reference):
    one = np.zeros((120, 120, 3), np.uint8)
    cv2.circle(one, (60, 60), 30, (90, 40, 110), -1)
    write_cell(tmp_path / "in" / "flat.png", one)
    write_cell(tmp_path / "in" / "good.png", draw_cell(1, 120, 30))
    write_cell(tmp_path / "in" / "field.png", image_of(two_stain_density(0, 60)))
    (tmp_path / "in" / "text.png").write_text("no image")
    made = bs.normalize_stain(
        tmp_path / "in", method="gcti", out=tmp_path / "out", reference=reference
    )
    rows = {row["file"]: row for row in made.to_frame().to_dicts()}
    assert {name for name, row in rows.items() if row["problem"]} == {
        "flat.png", "field.png", "text.png",
    }  # fmt: skip
    assert "stain" in rows["flat.png"]["problem"]
    assert "field" in rows["field.png"]["problem"]
    assert rows["flat.png"]["image"] is None
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["good.png"]
    assert rows["good.png"]["wedge"] > 4
    with pytest.raises(bs.BlastscopeError, match="None of 1"):
        bs.normalize_stain(tmp_path / "in" / "flat.png", method="gcti", reference=reference)


def test_other_labels_are_refused_and_what_is_gone_is_written_again(tmp_path, reference):
    folder, out = tmp_path / "in", tmp_path / "out"
    for k in range(3):
        write_cell(folder / f"c{k}.png", draw_cell(k, 120, 30))
    labels = folder / "labels.csv"
    labels.write_text("file,label\nc0.png,all\nc1.png,all\nc2.png,hem\n")

    def normalize():
        return bs.normalize_stain(folder, method="reinhard", out=out, reference=reference)

    made = normalize()
    assert made.to_frame()["label"].to_list() == ["all", "all", "hem"]
    whole = (out / "c1.png").read_bytes()
    (out / "c1.png").unlink()
    again = normalize()
    assert (out / "c1.png").read_bytes() == whole
    assert (again.made.again, again.made.already) == (1, False)
    assert again.to_frame().equals(made.to_frame())
    assert normalize().made.already
    table = (out / "stain.csv").read_text()
    first, *rows = table.splitlines(keepends=True)
    for changed in (first + "".join(rows[::-1]), first, "", table.replace("wedge", "angle")):
        (out / "stain.csv").write_text(changed)
        with pytest.raises(bs.BlastscopeError, match=r"stain\.csv was changed"):
            normalize()
    (out / "stain.csv").write_text(table)
    labels.write_text("file,label\nc0.png,hem\nc1.png,all\nc2.png,all\n")
    with pytest.raises(bs.BlastscopeError, match=r"differs in inputs"):
        normalize()


def test_what_is_gone_when_it_goes_on_is_written_again(tmp_path, reference, monkeypatch):
    folder, out = tmp_path / "in", tmp_path / "out"
    for k in range(3):
        write_cell(folder / f"c{k}.png", draw_cell(k, 120, 30))
    monkeypatch.setattr("blastscope.prediction.journal.ROWS", 1)
    monkeypatch.setattr(stain_images, "in_order", lambda work, items, ahead: map(work, items))

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bs.normalize_stain(folder, method="reinhard", out=out, reference=reference, progress=stop)
    (out / "c0.png").unlink()
    made = bs.normalize_stain(folder, method="reinhard", out=out, reference=reference)
    assert made.made.again == 1
    assert [path.name for path in sorted(out.glob("*.png"))] == ["c0.png", "c1.png", "c2.png"]


def test_several_pictures_are_refused_and_what_was_converted_is_said(tmp_path, reference):
    folder, cell = tmp_path / "in", draw_cell(1, 120, 30)
    folder.mkdir()
    pages = [Image.fromarray(draw_cell(k, 120, 30)) for k in (2, 3)]
    pages[0].save(folder / "two.tif", save_all=True, append_images=pages[1:])
    opaque = np.full((*cell.shape[:2], 1), 255, np.uint8)
    opaque[:60] = 0
    Image.fromarray(np.dstack([cell, opaque])).save(folder / "alpha.png")
    Image.fromarray(cell).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(cell).save(folder / "plain.png")
    made = bs.normalize_stain(folder, method="reinhard", out=tmp_path / "out", reference=reference)
    rows = {row["file"]: row for row in made.to_frame().to_dicts()}
    assert {name: row["flags"] for name, row in rows.items()} == {
        "alpha.png": "alpha", "cmyk.jpg": "cmyk", "plain.png": None, "two.tif": "frames",
    }  # fmt: skip
    assert "several" in rows["two.tif"]["problem"]
    assert rows["two.tif"]["image"] is None
    assert made.refused == 1
    assert (read(tmp_path / "out" / "alpha.png")[:60] == 0).all()
    flagged = [note for note in made.notes() if note.startswith("Flagged")]
    assert [note.split(" (")[0] for note in flagged] == ["Flagged alpha: 1", "Flagged cmyk: 1"]
    again = bs.normalize_stain(folder, method="reinhard", out=tmp_path / "out", reference=reference)
    assert again.to_frame().equals(made.to_frame())
    for given in (folder / "two.tif", tmp_path / "alone"):
        (tmp_path / "alone").mkdir(exist_ok=True)
        pages[0].save(tmp_path / "alone" / "two.tif", save_all=True, append_images=pages[1:])
        with pytest.raises(bs.BlastscopeError, match="several pictures"):
            bs.normalize_stain(cell, method="reinhard", reference=given)


def test_a_failure_takes_nothing_of_a_folder_that_was_there(tmp_path):
    out = tmp_path / "project"
    (out / ".git").mkdir(parents=True)
    (out / ".git" / "HEAD").write_text("mine")
    write_cell(tmp_path / "in" / "dark.png", np.zeros((120, 120, 3), np.uint8))
    (tmp_path / "in" / "SYNTHETIC.txt").touch()
    with pytest.raises(bs.BlastscopeError, match="None of 1"):
        bs.normalize_stain(tmp_path / "in", method="reinhard", out=out)
    assert [path.name for path in out.iterdir()] == [".git"]
    assert (out / ".git" / "HEAD").read_text() == "mine"


def test_nothing_leaves_the_folder_and_no_name_is_used_twice(tmp_path, reference, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "work").mkdir()
    write_cell(tmp_path / "a" / "x.png", draw_cell(1, 120, 30))
    write_cell(tmp_path / "a" / "x.bmp", draw_cell(2, 120, 30))
    with pytest.raises(bs.BlastscopeError, match=r"x\.png"):
        bs.normalize_stain(tmp_path / "a", method="reinhard", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.chdir(tmp_path / "work")
    bs.normalize_stain("../a/x.bmp", method="reinhard", out="out")
    assert [path.name for path in (tmp_path / "work" / "out").glob("*.png")] == ["x.png"]
    with zipfile.ZipFile(tmp_path / "cells.zip", "w") as archive:
        archive.write(tmp_path / "a" / "x.bmp", "deep/x.bmp")
    made = bs.normalize_stain(tmp_path / "cells.zip", method="reinhard", out="zipped")
    (name,) = made.to_frame()["image"]
    assert (tmp_path / "work" / "zipped" / name).is_file()


def test_arrays_in_arrays_out(reference):
    cells = [draw_cell(k, 120, 30) for k in range(2)]
    made = bs.normalize_stain(cells, method="macenko", reference=reference)
    wanted = measure_stain(read(reference), "macenko")
    for cell, image in zip(cells, made.images, strict=True):
        np.testing.assert_array_equal(image, normalize_pixels(cell, wanted).pixels)
    assert made.path is None
    assert made.to_frame()["image"].null_count() == 2
    assert any("out-of-distribution" in sentence for sentence in made.notes())
    for method in ("none", "vahadane"):
        with pytest.raises(bs.BlastscopeError, match="reinhard"):
            bs.normalize_stain(cells, method=method)


def test_synthetic_images_stay_marked(tmp_path):
    bs.synthesize(tmp_path / "cells", 6, 2)
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["normalize-stain", str(tmp_path / "cells"), "--out", str(out), "--method", "gcti"]
    )
    assert done.exit_code == 0, done.output
    assert bs.check(out).synthetic
