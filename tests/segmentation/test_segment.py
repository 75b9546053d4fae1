"""Fields to cells, tables and predictions through the package."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

import blastscope as bs
from blastscope.api.segment import list_fields
from blastscope.data.images import UnusableImageError
from blastscope.data.synthetic_fields import write_synthetic_fields
from blastscope.errors import BlastscopeError
from blastscope.segmentation.cells import find_cells
from blastscope.segmentation.fields import refuse_no_smear
from blastscope.segmentation.mask_files import write_labels
from tests.conftest import draw_cell
from tests.segmentation.drawn import UM, White, dice, draw, grid, placed


@pytest.fixture
def fields(tmp_path):
    folder = tmp_path / "slide"
    folder.mkdir()
    both = draw((400, 500), [White(150, 200), White(340, 180), White(496, 40)], [(60, 60)])
    Image.fromarray(both).save(folder / "a.png")
    Image.fromarray(draw((300, 500), [], grid(8))).save(folder / "b.jpg", quality=95)
    return folder


def test_fields_become_cells_tables_masks_and_overlays(fields, tmp_path):
    out = tmp_path / "out"
    made = bs.segment(fields, out=out, um_per_pixel=UM)
    frame = made.to_frame()
    assert frame.height == 3
    refused = frame.filter(frame["refused"].is_not_null())
    assert refused["image"].to_list() == [None]
    assert refused["x"].null_count() == 0
    used = frame.filter(frame["refused"].is_null())
    assert used["area_um2"].to_list() == pytest.approx([np.pi * 36] * 2, rel=0.08)
    for image in used["image"]:
        assert Image.open(out / image).size == (450, 450)
    assert made.fields["cells"].to_list() == [3, 0]
    assert np.array(Image.open(out / "masks" / "a.tif")).max() == 3
    assert (out / "overlays" / "b.jpg").is_file()
    with (out / "cells.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    before = (out / "fields" / "a.json").stat().st_mtime_ns
    assert bs.segment(fields, out=out, um_per_pixel=UM).found.resumed == 2
    assert (out / "fields" / "a.json").stat().st_mtime_ns == before
    with pytest.raises(BlastscopeError, match="um_per_pixel"):
        bs.segment(fields, out=out, um_per_pixel=2 * UM)


@pytest.mark.parametrize(
    ("times", "contradicted"), [(1, False), (1.2, False), (2, True), (0.5, True)]
)
def test_a_scale_that_red_cells_contradict_is_told_of(fields, tmp_path, times, contradicted):
    said = bs.segment(fields, out=tmp_path / "out", um_per_pixel=times * UM)
    scale = said.found.scale
    assert (scale.um_per_pixel, scale.red_cells) == (times * UM, None)
    assert scale.by_red_cells == pytest.approx(UM, rel=0.08)
    assert scale.is_contradicted is contradicted
    assert any(f"show {scale.by_red_cells:.3g}" in note for note in said.notes()) is contradicted
    again = bs.segment(fields, out=tmp_path / "out", um_per_pixel=times * UM)
    assert again.found.scale == scale


def test_a_killed_run_goes_on(fields, tmp_path):
    out = tmp_path / "out"

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bs.segment(fields, out=out, um_per_pixel=UM, progress=stop)
    assert not (out / "cells.csv").exists()
    again = bs.segment(fields, out=out, um_per_pixel=UM)
    assert again.found.resumed >= 1
    assert again.to_frame().equals(bs.segment(fields, um_per_pixel=UM).to_frame())


def test_masks_of_another_tool_are_cut_out_as_they_are(fields, tmp_path):
    shape, masks = (400, 500), tmp_path / "masks"
    masks.mkdir()
    rgb = np.array(Image.open(fields / "a.png"))
    cells = find_cells(rgb, UM)[:1]
    write_labels(masks / "a_cp_masks.tif", shape, cells)
    write_labels(masks / "b.tif", (300, 500), [])
    made = bs.segment(fields, um_per_pixel=UM, masks=masks).to_frame()
    assert made["area"].to_list() == [cells[0].mask.sum()]
    assert made["quality"].to_list() == [None]


@pytest.mark.parametrize("um", [None, UM])
def test_a_failure_takes_nothing_of_a_folder_that_was_there(tmp_path, um):
    out, folder = tmp_path / "project", tmp_path / "dark"
    (out / ".git").mkdir(parents=True)
    (out / ".git" / "HEAD").write_text("mine")
    folder.mkdir()
    Image.fromarray(np.zeros((300, 300, 3), np.uint8)).save(folder / "dark.png")
    with pytest.raises(BlastscopeError, match=r"dark\.png"):
        bs.segment(folder, out=out, um_per_pixel=um)
    assert [path.name for path in out.iterdir()] == [".git"]
    assert (out / ".git" / "HEAD").read_text() == "mine"


def test_a_field_that_its_file_turns_is_not_used_with_masks(fields, tmp_path):
    """Turned by 180°, a field has the size of its masks, which are not turned with it."""
    masks = tmp_path / "masks"
    masks.mkdir()
    rgb = Image.open(fields / "a.png")
    for name, orientation in (("a.png", 3), ("b.jpg", 1)):
        exif = Image.Exif()
        exif[274] = orientation
        rgb.save(fields / name, exif=exif)
    for name in ("a", "b"):
        write_labels(masks / f"{name}.tif", (400, 500), find_cells(np.array(rgb), UM)[:1])
    made = bs.segment(fields, um_per_pixel=UM, masks=masks).fields
    assert made["cells"].to_list() == [None, 1]
    assert "EXIF" in made["problem"][0]
    assert bs.segment(fields, um_per_pixel=UM).fields["problem"].null_count() == 2


def test_masks_that_do_not_fit_leave_nothing_behind(fields, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    write_labels(masks / "a.tif", (400, 500), [])
    write_labels(masks / "b.tif", (30, 50), [])
    with pytest.raises(BlastscopeError, match=r"b\.tif has 50 × 30 pixels"):
        bs.segment(fields, out=tmp_path / "out", um_per_pixel=UM, masks=masks)
    assert not (tmp_path / "out").exists()


def test_two_fields_do_not_share_the_masks_of_one(tmp_path):
    """Fields of two subjects have one name: the cells of one would be cut at the other's places."""
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("A", "B"):
        (tmp_path / "f" / name).mkdir(parents=True)
        Image.fromarray(draw((90, 120))).save(tmp_path / "f" / name / "img1.png")
    write_labels(masks / "img1_masks.tif", (90, 120), [])
    with pytest.raises(BlastscopeError, match=r"A/img1\.png and .*B/img1\.png .*img1_masks\.tif"):
        bs.segment(tmp_path / "f", out=tmp_path / "out", um_per_pixel=UM, masks=masks)
    assert not (tmp_path / "out").exists()
    assert bs.segment(tmp_path / "f" / "A", um_per_pixel=UM, masks=masks).fields.height == 1


def test_a_field_in_several_pictures_or_with_transparent_parts_is_not_used(fields):
    (fields / "a.png").unlink()
    image = Image.open(fields / "b.jpg")
    image.save(fields / "c.tif", save_all=True, append_images=[image])
    clear = image.convert("RGBA")
    clear.save(fields / "d.png")  # opaque: it is used
    clear.putpixel((30, 30), (0, 0, 0, 0))
    clear.save(fields / "e.png")
    made = bs.segment(fields, um_per_pixel=UM).fields
    assert dict(made.select("file", "cells").rows()) == {
        "b.jpg": 0, "c.tif": None, "d.png": 0, "e.png": None,
    }  # fmt: skip


def test_what_was_converted_of_a_field_is_told(fields):
    (fields / "a.png").unlink()
    image = Image.open(fields / "b.jpg")
    image.convert("CMYK").save(fields / "c.tif")
    image.quantize(256).save(fields / "d.png")
    image.convert("RGBA").save(fields / "e.png")  # opaque: nothing is lost
    made = bs.segment(fields, um_per_pixel=UM)
    assert made.fields["flags"].to_list() == [None, "cmyk", "palette", None]
    assert len([line for line in made.notes() if "converted to RGB: 1." in line]) == 2


def test_a_name_that_cannot_be_used_is_a_row(fields):
    (fields / "a.png").rename(fields / "a\nb.png")
    made = bs.segment(fields, um_per_pixel=UM).fields
    assert made["problem"].null_count() == 1


def test_what_was_made_in_a_folder_of_fields_is_not_taken_for_fields(fields):
    out, table = fields / "out", fields / "p.csv"
    first = bs.segment(fields, out=out, um_per_pixel=UM)
    again = bs.segment(fields, out=out, um_per_pixel=UM)
    assert again.found.resumed == 2
    assert again.to_frame().equals(first.to_frame())
    for _ in range(2):
        made = bs.predict([fields], fields=True, um_per_pixel=UM, out=table, force=True)
        assert made.to_frame()["field"].to_list() == ["a"] * 3
        assert set(made.to_frame()["subject"]) == {"SLIDE"}
    with pytest.raises(BlastscopeError, match="cut out of fields"):
        bs.segment(out, um_per_pixel=UM)
    assert len(bs.predict(out).to_frame()) == 2  # the cells, without overlays and masks


def test_the_truth_of_synthetic_fields_is_not_taken_for_fields(tmp_path):
    drawn = tmp_path / "drawn"
    write_synthetic_fields(drawn, 2, 1, 5)
    listed, alone = (list_fields([one], None) for one in (drawn, drawn / "fields"))
    assert (
        [one.cell for one in listed] == [one.cell for one in alone] == ["field-0001", "field-0002"]
    )
    assert [one.path for one in listed] == [one.path for one in alone]
    assert not alone.notes
    assert list(listed.notes) == [
        "4 label images of synthetic fields are left out: they are not fields"
    ]
    with pytest.raises(BlastscopeError, match="label images"):
        list_fields([drawn / "nuclei"], None)
    (drawn / "objects.csv").unlink()  # a folder of something else
    assert len(list_fields([drawn], None)) == 6


def test_other_folders_stay(fields, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    with pytest.raises(BlastscopeError, match=r"letter\.txt"):
        bs.segment(fields, out=tmp_path / "mine", um_per_pixel=UM)


def _text() -> np.ndarray:
    page = np.full((300, 400, 3), 250, np.uint8)
    page[20:280:12, 30:370] = 20
    return page


def _photograph() -> np.ndarray:
    rows = np.mgrid[:300, :400][0]
    sky = np.stack([90 + rows / 3, 150 + rows / 4, 235 - rows / 9], 2)
    sky[180:] = (70, 120, 40)
    sky[200:260, 100:200] = (200, 160, 30)
    return (sky + np.random.default_rng(0).normal(0, 6, sky.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "picture"),
    [
        ("grey", _text()), ("photograph", _photograph()), ("dark", draw_cell()),
        ("small", np.full((20, 500, 3), 200, np.uint8)),
    ],
)  # fmt: skip
def test_what_is_no_smear_is_said(kind, picture):
    with pytest.raises(UnusableImageError) as told:
        refuse_no_smear(picture)
    assert told.value.kind == kind


def test_fields_that_cannot_be_used_are_rows_and_all_of_them_an_error(fields, tmp_path):
    Image.fromarray(_text()).save(fields / "c.png")
    made = bs.segment(fields, um_per_pixel=UM)
    assert made.failed == 1
    assert made.fields["problem"].null_count() == 2
    (fields / "a.png").unlink()
    (fields / "b.jpg").unlink()
    with pytest.raises(BlastscopeError, match=r"c\.png"):
        bs.segment(fields, out=tmp_path / "o", um_per_pixel=UM)
    assert not (tmp_path / "o").exists()


def test_predict_fields_says_first_what_the_model_does_not_know(fields, tmp_path):
    made = bs.predict(
        [fields], fields=True, um_per_pixel=UM, out=tmp_path / "p.csv", report=tmp_path / "p.html"
    )
    frame = made.to_frame()
    assert frame["field"].to_list() == ["a"] * 3
    assert frame["x"].null_count() == 0
    assert frame["problem"].is_not_null().sum() == 1
    assert frame["out_of_distribution"].drop_nulls().all()
    assert frame["called"].null_count() == 3
    assert set(frame["subject"]) == {"SLIDE"}
    assert made.as_json()["mostly_out_of_distribution"] is True
    assert "out of distribution" in made.answers()[0]
    assert made.subjects.is_empty() or "blasts" not in str(made.to_text())
    page = (tmp_path / "p.html").read_text()
    assert page.index("Most cells are out of distribution") < page.index("<h2>Subjects")
    assert page.count('<figure class="field">') == 2
    assert (tmp_path / "p-fields" / "cells").is_dir()


def test_predict_fields_says_what_it_does_not_show(fields, monkeypatch):
    monkeypatch.setattr("blastscope.api.prediction_result.MOST_CELLS", 1)
    (fields / "b.jpg").unlink()
    Image.open(fields / "a.png").quantize(256).save(fields / "a.png")
    made = bs.predict([fields], fields=True, um_per_pixel=UM)
    assert [note for note in made.notes() if note.startswith("And 1 more cells")]
    assert [note for note in made.notes() if note.startswith("Palette images")]
    assert "Palette images" in made.to_html()


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_a_field_without_white_cells_is_an_answer(fields, tmp_path, suffix):
    out = tmp_path / f"p.{suffix}"
    made = bs.predict([fields / "b.jpg"], fields=True, um_per_pixel=UM, out=out)
    assert out.is_file()
    assert made.to_frame().height == 0
    assert made.answers() == ["No white cells were found in 1 field."]
    assert "no white cells" in made.to_html()


def test_fields_have_options_of_their_own(fields):
    with pytest.raises(BlastscopeError, match="--fields"):
        bs.predict([fields / "a.png"], um_per_pixel=UM)


def test_real_fields_have_their_white_cells(shared):
    folder = shared / "data" / "smears" / "bccd"
    if not folder.is_dir():
        pytest.skip(f"no smears: {folder} is not there")
    found = boxes = false = 0
    for path in sorted(folder.glob("*.xml"))[::40]:
        truth = [
            [int(one.find("bndbox").find(side).text) for side in ("xmin", "ymin", "xmax", "ymax")]
            for one in ET.parse(path).iter("object")
            if one.find("name").text == "WBC"
        ]
        rgb = np.array(Image.open(path.with_suffix(".jpg")).convert("RGB"))
        centres = [cell.centre for cell in find_cells(rgb, 0.073)]
        inside = [[b[0] <= x <= b[2] and b[1] <= y <= b[3] for x, y in centres] for b in truth]
        found += sum(map(any, inside))
        boxes += len(truth)
        false += sum(not any(hits) for hits in zip(*inside, strict=True))
    assert found == boxes
    assert false <= 1


def test_a_real_cell_on_drawn_glass_comes_back(shared):
    folder = shared / "data" / "C-NMC_training_data" / "fold_1" / "all"
    agreed = []
    for path in sorted(folder.glob("*.webp"))[::400]:
        cell = np.array(Image.open(path).convert("RGB"))
        mask = cell.max(2) > 0
        glass = draw((450, 450))
        pasted = np.where(mask[..., None], cell, glass)
        best = max(find_cells(pasted, 0.06), key=lambda one: one.mask.sum())
        agreed.append(dice(placed(best, cell.shape), mask))
    assert np.median(agreed) > 0.95
