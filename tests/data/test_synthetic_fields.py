"""Synthetic fields: their truth is what is drawn."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import blastscope as bs
from blastscope.cli import app
from blastscope.data.synthetic import MARKER, is_marked
from blastscope.data.synthetic_drawing import SIDE, draw_cell, draw_subject, draw_whole_cell
from blastscope.data.synthetic_field_drawing import HEIGHT, RED_CELL, UM_PER_PIXEL, WIDTH
from blastscope.data.synthetic_fields import MOST_OVERLAP, write_synthetic_fields
from blastscope.segmentation.fields import refuse_no_smear
from blastscope.segmentation.scale import red_cell_diameters

COUNT = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "fields"
    write_synthetic_fields(folder, COUNT, 3, 5)
    return folder


@pytest.fixture(scope="module")
def objects(made):
    return pl.read_csv(made / "objects.csv", infer_schema_length=None)


def images(made, kind, suffix="tif"):
    for path in sorted((made / kind).glob(f"*.{suffix}")):
        yield path.stem, cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_layout(made):
    assert is_marked(made / "fields")
    rows = pl.read_csv(made / "fields.csv")
    names = [f"field-{k + 1:04}" for k in range(COUNT)]
    assert rows["field"].to_list() == names
    assert rows["subject"].n_unique() == 3
    for kind, suffix, shape, dtype in (
        ("fields", "png", (HEIGHT, WIDTH, 3), np.uint8),
        ("cells", "tif", (HEIGHT, WIDTH), np.uint16),
        ("nuclei", "tif", (HEIGHT, WIDTH), np.uint16),
    ):
        found = dict(images(made, kind, suffix))
        assert list(found) == names
        assert {(image.shape, image.dtype) for image in found.values()} == {
            (shape, np.dtype(dtype))
        }
    assert "synthetic" in (made / MARKER).read_text()


def test_objects_are_what_the_label_images_hold(made, objects):
    nuclei = dict(images(made, "nuclei"))
    for name, cells in images(made, "cells"):
        rows = objects.filter((pl.col("field") == name) & (pl.col("kind") == "white"))
        assert sorted(set(np.unique(cells)) - {0}) == rows["object"].to_list()
        for row in rows.to_dicts():
            own = cells == row["object"]
            y, x = np.nonzero(own)
            assert (x.min(), y.min()) == (row["x"], row["y"])
            assert (np.ptp(x) + 1, np.ptp(y) + 1) == (row["w"], row["h"])
            assert own.sum() == row["area"]
            assert row["cut"] == bool(
                own[0].any() or own[-1].any() or own[:, 0].any() or own[:, -1].any()
            )
            nucleus = nuclei[name] == row["object"]
            assert not (nucleus & ~own).any()
            assert nucleus.any() or row["cut"]
    counts = objects.group_by("field", "kind").len().pivot("kind", index="field", values="len")
    fields = pl.read_csv(made / "fields.csv").join(counts, on="field", how="left")
    for column, kind in (("white", "white_right"), ("red", "red_right"), ("platelets", "platelet")):
        assert fields[column].to_list() == fields[kind].fill_null(0).to_list()


def test_every_kind_of_thing_is_there(objects):
    white = objects.filter(kind="white")
    assert set(white["label"]) == {"all", "hem"}
    assert white["cut"].any()
    pairs = white.filter(pl.col("partner").is_not_null())
    assert pairs.height >= 4
    assert (pairs["overlap"] <= MOST_OVERLAP + 0.01).all()
    assert (pairs["overlap"] > 0).any()
    other = pairs.select("field", pl.col("partner").alias("object"), pl.col("overlap").alias("o"))
    assert pairs.join(other, on=["field", "object"])["o"].to_list() == pairs["overlap"].to_list()
    assert {"red", "platelet"} < set(objects["kind"])


def test_only_subjects_with_all_have_blasts(made, objects):
    fields = pl.read_csv(made / "fields.csv", schema_overrides={"subject": pl.String})
    joined = objects.filter(kind="white").join(fields, on="field")
    normal = joined.filter(pl.col("subject").str.starts_with("H"))
    assert set(normal["label"]) == {"hem"}
    assert "all" in joined.filter(~pl.col("subject").str.starts_with("H"))["label"].to_list()


def test_colours_tell_the_kinds_apart(made, objects):
    """As on smears: nuclei absorb more red than blue, red cells more blue than red."""
    nuclei = dict(images(made, "nuclei"))
    for name, image in images(made, "fields", "png"):
        blue, _, red = np.moveaxis(image.astype(float), -1, 0)
        assert np.percentile(image, 90) > 160  # glass
        if (nuclei[name] > 0).any():
            inside = nuclei[name] > 0
            assert np.median(red[inside]) < 110
        reds = objects.filter(
            (pl.col("field") == name) & (pl.col("kind") == "red") & ~pl.col("cut")
        )
        differences = [
            np.median(red[box]) - np.median(blue[box])
            for row in reds.to_dicts()
            for box in [np.s_[row["y"] : row["y"] + row["h"], row["x"] : row["x"] + row["w"]]]
        ]
        assert np.median(differences) > 20


def test_red_cells_have_the_size_that_is_written(made, objects):
    """A red cell is 7.5 µm wide; subjects differ."""
    widths = objects.filter((pl.col("kind") == "red") & ~pl.col("cut"))["w"]
    assert widths.median() == pytest.approx(7.5 / UM_PER_PIXEL, rel=0.12)
    said = pl.read_csv(made / "fields.csv")["red_cell_px"]
    assert said.median() == pytest.approx(RED_CELL, rel=0.12)


def test_segment_takes_drawn_fields_and_finds_one_scale(made):
    """They have the colours of a smear, and red cells measure in each what is written of it."""
    drawn = [image[..., ::-1].copy() for _, image in images(made, "fields", "png")]
    for image in drawn:
        refuse_no_smear(image)
    diameters = [red_cell_diameters(image) for image in drawn]
    said = pl.read_csv(made / "fields.csv")["red_cell_px"]
    for found, truth in zip(diameters, said, strict=True):
        assert len(found) >= 8
        assert np.median(found) == pytest.approx(truth, rel=0.1)


def test_the_same_seed_draws_the_same(made, tmp_path):
    def digest(folder):
        found = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "0003" in path.name:
                found.update(path.read_bytes())
        return found.hexdigest()

    write_synthetic_fields(tmp_path / "again", 3, 3, 5)
    write_synthetic_fields(tmp_path / "other", 3, 3, 6)
    assert digest(tmp_path / "again") == digest(made)
    assert digest(tmp_path / "other") != digest(made)


def test_whole_cell_is_the_cell_and_its_parts():
    subject = draw_subject(np.random.default_rng(1))
    drawn = draw_whole_cell("hem", subject, np.random.default_rng(2))
    seen = (drawn.image > 0).any(axis=2)
    assert (seen[drawn.cell > 0]).all()
    assert not (drawn.nucleus & ~drawn.cell).any()
    assert 0.5 < drawn.nucleus.sum() / drawn.cell.sum() < 1
    assert draw_cell("hem", subject, np.random.default_rng(2)).shape == (SIDE, SIDE, 3)


def test_bad_numbers_are_refused(tmp_path):
    for numbers in ((0, 2, 1), (3, 0, 1), (3, 2, -1)):
        with pytest.raises(bs.BlastscopeError):
            write_synthetic_fields(tmp_path / "x", *numbers)
    assert not (tmp_path / "x").exists()
    run = CliRunner().invoke
    made = run(app, ["synth", str(tmp_path / "f"), "--fields", "1", "--seed", "3"])
    assert made.exit_code == 0
    assert (tmp_path / "f" / "objects.csv").is_file()
    both = run(app, ["synth", str(tmp_path / "g"), "--fields", "1", "--cells", "3"])
    assert isinstance(both.exception, bs.BlastscopeError)
    again = run(app, ["synth", str(tmp_path / "f"), "--fields", "1"])
    assert "not empty" in str(again.exception)


def test_the_result_counts_the_subjects_that_were_drawn(tmp_path):
    drawn = bs.synthesize_fields(tmp_path / "drawn", 2, 4, seed=1)
    table = pl.read_csv(tmp_path / "drawn" / "fields.csv")
    assert drawn.as_json() == {
        "path": str(tmp_path / "drawn"), "fields": 2, "subjects": table["subject"].n_unique(),
        "seed": 1,
    }  # fmt: skip
    assert table.height == 2
