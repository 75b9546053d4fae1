"""Runs and ensembles applied to folders of images: each at its own size, one table."""

from __future__ import annotations

import json
import shutil
import zipfile

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

import blastscope
from blastscope.cli import app
from blastscope.ensemble.combination import Combination
from blastscope.ensemble.ensemble_folder import (
    EnsembleFolder,
    EnsembleMember,
    ensemble_members,
    read_ensemble,
    write_ensemble,
)
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import align_predictions
from blastscope.io.files import sha256_of
from blastscope.io.predictions import read_predictions
from blastscope.prediction.predict import predict
from blastscope.prediction.submission import submit_images
from blastscope.prediction.table import PredictionRow, rows_frame, write_table
from blastscope.training.finished_run import open_run


@pytest.fixture
def images(trained, tmp_path):
    """Three cells of each class, under their own names."""
    folder = tmp_path / "new"
    for path in [*sorted(trained.images.values())][:3] + [*sorted(trained.images.values())][-3:]:
        target = folder / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


def weighted(trained, out, weights=(0.75, 0.25), method="genetic"):
    scores = align_predictions([f"A={trained.run}", f"B={trained.other}"])
    how = Combination(method, "weights", weights)
    members = ensemble_members(scores.members, out)
    write_ensemble(EnsembleFolder("both", how, members, False, {"part": "validation"}), out)
    (out / "predictions.parquet").touch()
    return out


def test_an_ensemble_of_runs_at_two_sizes_says_what_its_weights_say(trained, images, tmp_path):
    made = predict(
        [images], [weighted(trained, tmp_path / "e")], tmp_path / "new.parquet", device="cpu"
    )
    frame, about = read_predictions(made.path)
    one, two = trained.p_all(trained.run), trained.p_all(trained.other)
    wanted = [0.75 * one[cell] + 0.25 * two[cell] for cell in frame["cell"]]
    assert frame["p_all"].to_list() == pytest.approx(wanted, abs=1e-5)
    assert frame["label"].to_list() == [cell[-3:] for cell in frame["cell"]]
    assert frame["subject"].to_list() == [cell.split("_")[1] for cell in frame["cell"]]
    assert (set(frame["part"]), set(frame["model"])) == ({"test"}, {"both"})
    assert made.tally.called_all == (frame["p_all"] > 0.5).sum()
    assert about["weights_of"] == sha256_of(tmp_path / "e" / "ensemble.json")
    checkpoints = [member["checkpoint"] for member in about["members"]]
    assert checkpoints == [
        sha256_of(run / "checkpoint.safetensors") for run in (trained.run, trained.other)
    ]
    assert not list(tmp_path.glob(".*"))  # neither the working folder nor a lock is left


def test_several_runs_are_averaged_into_a_csv_that_evaluate_reads(trained, images, tmp_path):
    out = tmp_path / "new.csv"
    predict([images], [trained.run, trained.other], out, device="cpu")
    frame, _ = read_predictions(out)
    one, two = trained.p_all(trained.run), trained.p_all(trained.other)
    wanted = [(one[cell] + two[cell]) / 2 for cell in frame["cell"]]
    assert frame["p_all"].to_list() == pytest.approx(wanted, abs=1e-5)


def test_an_image_that_cannot_be_used_is_a_row_with_its_reason(trained, images, tmp_path):
    (images / "hem" / "UID_H9_1_1_hem.bmp").write_text("no image")
    out = tmp_path / "new.csv"
    made = predict([images], [trained.run], out, device="cpu")
    (bad,) = made.problems.to_dicts()
    assert (bad["file"], bad["subject"]) == ("hem/UID_H9_1_1_hem.bmp", "H9")
    assert bad["problem"] == "is not a BMP, PNG, TIFF, JPEG or WebP image"
    assert bad["p_all"] is None
    assert made.frame["file"].to_list() == [
        path.relative_to(images).as_posix()
        for path in sorted(images.rglob("*.bmp"), key=lambda path: path.name)
    ]
    assert pl.read_csv(out).height == 7
    frame, _ = read_predictions(out)  # what evaluates it is not bothered
    assert frame.height == 6


def test_a_run_that_saw_the_first_contour_sees_it_again(trained, tmp_path):
    assert open_run(trained.run).settings.contour == "union"
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    about = run / "environment.json"
    assert '"contour": "union"' in about.read_text()
    about.write_text(about.read_text().replace('"contour": "union"', '"contour": "first"'))
    assert open_run(run).settings.contour == "first"


def test_what_is_there_is_kept_unless_replacing_is_asked_for(trained, images, tmp_path):
    out = tmp_path / "new.csv"
    out.write_text("mine")
    with pytest.raises(BlastscopeError, match="exists already"):
        predict([images], [trained.run], out, device="cpu")
    assert out.read_text() == "mine"
    with pytest.raises(BlastscopeError, match=r"is not a \.parquet, \.csv, \.json file"):
        predict([images], [trained.run], tmp_path / "new.txt", device="cpu")
    (tmp_path / "a-subjects.csv").write_text("mine")
    with pytest.raises(BlastscopeError, match=r"a-subjects\.csv exists already"):
        predict([images], [trained.run], tmp_path / "a.csv", device="cpu")
    assert len(predict([images], [trained.run], out, device="cpu", force=True).frame) == 6


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_subjects_of_an_older_table_do_not_stay_beside_a_new_one(tmp_path, suffix):
    out, beside = tmp_path / f"p.{suffix}", tmp_path / f"p-subjects.{suffix}"
    rows = rows_frame([PredictionRow("a.png", "a", "7", None, "is empty")], None, "m")
    empty = {"subject": ["7"], "called": [0.5], "share": [0.4], "line": ["open"]}
    write_table(rows, pl.DataFrame(empty), out, {})
    assert beside.is_file()
    write_table(rows, None, out, {})
    assert not beside.exists()
    beside.write_text("mine")
    write_table(rows, None, out, {})
    assert beside.read_text() == "mine"


def test_an_ensemble_whose_members_changed_or_are_tables_is_refused(trained, images, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.other, run)
    folder = tmp_path / "e"
    scores = align_predictions([f"A={trained.run}", f"B={run}"])
    how = Combination("mean", "weights", (0.5, 0.5))
    members = ensemble_members(scores.members, folder)
    assert members[1].path == "../run"
    write_ensemble(EnsembleFolder("both", how, members, False, {}), folder)
    with pytest.raises(BlastscopeError, match="is an unfinished ensemble"):
        predict([images], [folder], tmp_path / "o.csv", device="cpu")
    (folder / "predictions.parquet").touch()
    shutil.rmtree(run)
    shutil.copytree(trained.run, run)  # a finished run, but another one
    with pytest.raises(BlastscopeError, match=r"run has other weights than when the ensemble"):
        predict([images], [folder], tmp_path / "o.csv", device="cpu")
    table = EnsembleMember("theirs", "../theirs.csv", None)
    write_ensemble(EnsembleFolder("both", how, (members[0], table), False, {}), folder)
    with pytest.raises(BlastscopeError, match=r"needs its member 'theirs' at .*theirs\.csv"):
        predict([images], [folder], tmp_path / "o.csv", device="cpu")
    (tmp_path / "theirs.csv").touch()
    with pytest.raises(BlastscopeError, match=r"knows the member 'theirs' only by its predictions"):
        predict([images], [folder], tmp_path / "o.csv", device="cpu")
    inner = EnsembleMember("inner", "../inner", None)
    write_ensemble(EnsembleFolder("in", how, (members[0], table), False, {}), tmp_path / "inner")
    write_ensemble(EnsembleFolder("both", how, (members[0], inner), False, {}), folder)
    with pytest.raises(BlastscopeError, match="is itself an ensemble"):
        predict([images], [folder], tmp_path / "o.csv", device="cpu")
    with pytest.raises(BlastscopeError, match="cannot be averaged"):
        predict([images], [folder, trained.run], tmp_path / "o.csv", device="cpu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"blastscope-ensemble/1"', '"blastscope-ensemble/9"'), r"not a blastscope-ensemble"),
        (("0.25", "NaN"), "damaged|not valid"),
        (('"weights": [', '"weights": [0.1,'), "damaged"),
        (('"path"', '"pfad"'), "damaged"),
        (('"path": "', '"path": "/'), "is not relative"),
        (('"intercept": 0.0', '"intercept": 1' + "0" * 400), "damaged|not valid"),
    ],
)
def test_a_damaged_or_newer_ensemble_is_refused(trained, tmp_path, change, words):
    folder = weighted(trained, tmp_path / "e")
    about = folder / "ensemble.json"
    assert change[0] in about.read_text()
    about.write_text(about.read_text().replace(*change, 1))
    with pytest.raises(BlastscopeError, match=words):
        read_ensemble(folder)


def test_a_submission_is_weighted_too_and_other_weights_are_another(trained, images, tmp_path):

    numbered = tmp_path / "numbered"
    numbered.mkdir()
    cells = []
    for k, path in enumerate(sorted(images.rglob("*.bmp")), start=1):
        shutil.copy(path, numbered / f"{k}.bmp")
        cells.append(path.stem)
    folder = weighted(trained, tmp_path / "e")
    made = submit_images([folder], numbered, tmp_path / "o", device="cpu")
    one, two = trained.p_all(trained.run), trained.p_all(trained.other)
    wanted = [0.75 * one[cell] + 0.25 * two[cell] for cell in cells]
    frame, _ = read_predictions(made.predictions)
    assert frame["p_all"].to_list() == pytest.approx(wanted, abs=1e-5)
    assert submit_images([folder], numbered, tmp_path / "o", device="cpu").already
    weighted(trained, tmp_path / "e", (0.25, 0.75))
    with pytest.raises(BlastscopeError, match="of another model or other images"):
        submit_images([folder], numbered, tmp_path / "o", device="cpu")


def test_as_it_is_typed(trained, images, tmp_path):
    out = tmp_path / "new.csv"
    command = ["predict", images, "--model", trained.run, "--model", trained.other, "--out", out]
    done = CliRunner().invoke(app, [str(word) for word in command])
    assert done.exit_code == 0, done.output
    assert "of 6 cells called ALL" in done.output


def test_where_no_image_can_be_used_the_first_reason_is_told(trained, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "text.bmp").write_text("no picture")
    with pytest.raises(
        BlastscopeError, match=r"None of 1 images can be used: text\.bmp is not a BMP"
    ):
        predict([tmp_path / "new"], [trained.run], tmp_path / "n.csv", device="cpu")
    assert not (tmp_path / "n.csv").exists()


def test_json_has_cells_and_subjects_and_a_pipe_a_line_a_cell(trained, images, tmp_path):
    out = tmp_path / "new.json"
    predict([images], [trained.run], out, device="cpu")
    content = json.loads(out.read_text())
    assert content["format"] == "blastscope-predictions/2"
    assert "not a medical device" in content["disclaimer"]
    assert len(content["cells"]) == 6
    command = ["predict", str(images), "--model", str(trained.run), "--out", "-"]
    done = CliRunner().invoke(app, command)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    kept = [{k: v for k, v in row.items() if v is not None} for row in content["cells"]]
    assert lines == kept


def test_a_killed_prediction_goes_on_and_says_the_same(trained, images, tmp_path, monkeypatch):
    from blastscope.prediction import journal, pipeline

    whole = predict([images], [trained.run], tmp_path / "a.csv", device="cpu").frame
    monkeypatch.setattr(pipeline, "BATCH", 2)
    monkeypatch.setattr(journal, "ROWS", 2)

    def killed(done, total):
        assert total == 6
        if done == 6:
            raise KeyboardInterrupt

    out = tmp_path / "b.csv"
    with pytest.raises(KeyboardInterrupt):
        predict([images], [trained.run], out, device="cpu", on_progress=killed)
    assert not out.exists()
    told = []
    again = predict(
        [images], [trained.run], out, device="cpu", on_progress=lambda *now: told.append(now)
    )
    assert told == [(6, 6)]  # four were done before
    assert again.frame["p_all"].to_list() == pytest.approx(whole["p_all"].to_list(), abs=1e-6)
    assert again.frame.drop("p_all", "ood_score").equals(whole.drop("p_all", "ood_score"))
    assert not list(tmp_path.glob(".*"))


def test_work_of_another_model_is_not_gone_on_with(trained, images, tmp_path, monkeypatch):
    from blastscope.prediction import journal, pipeline

    monkeypatch.setattr(pipeline, "BATCH", 2)
    monkeypatch.setattr(journal, "ROWS", 2)

    def killed(done, total):
        if done == total:
            raise KeyboardInterrupt

    out = tmp_path / "b.csv"
    with pytest.raises(KeyboardInterrupt):
        predict([images], [trained.run], out, device="cpu", on_progress=killed)
    frame = predict([images], [trained.other], out, device="cpu").frame
    said = trained.p_all(trained.other)
    assert frame["p_all"].to_list() == pytest.approx([said[c] for c in frame["cell"]], abs=1e-5)


def test_the_spread_is_that_of_the_eight_ways_to_lay_a_cell(trained, images):
    frame = predict([images], [trained.run, trained.other], device="cpu", spread=True).frame
    paths = sorted(images.rglob("*.bmp"), key=lambda path: path.name)
    turned = []
    for k in range(8):
        laid = []
        for path in paths:  # the whole file laid anew, an even square: no pixel changes
            pixels = np.array(Image.open(path))
            pixels = np.rot90(pixels, k % 4)
            laid.append(np.ascontiguousarray(pixels[:, ::-1] if k >= 4 else pixels))
        model = blastscope.load([trained.run, trained.other], device="cpu")
        turned.append(model.predict(laid)["p_all"].to_numpy())
    assert frame["spread"].to_list() == pytest.approx(np.std(turned, axis=0).tolist(), abs=2e-3)
    assert (frame["spread"] > 1e-4).any()


def test_engines_that_want_a_bundle_say_so(trained, images):
    with pytest.raises(BlastscopeError, match="onnxruntime needs a bundle, and tiny is a run"):
        predict([images], [trained.run], engine="onnxruntime")
    with pytest.raises(BlastscopeError, match="'tensorrt' is not an engine: choose one of auto"):
        predict([images], [trained.run], engine="tensorrt")


def test_arrays_pillow_images_and_paths_are_one_table_in_their_order(trained, images):
    path = sorted(images.rglob("*.bmp"))[0]
    picture = Image.open(path)
    model = blastscope.load(trained.run, device="cpu")
    frame = model.predict([np.array(picture), picture, path, str(path)])
    assert frame.height == 4  # a row for each that is given
    said = trained.p_all(trained.run)[path.stem]
    assert frame["p_all"].to_list() == pytest.approx([said] * 4, abs=1e-5)
    assert frame["cell"][0] == "image-1"
    assert frame["file"].to_list()[0] == ""
    with pytest.raises(BlastscopeError, match=r"images\[0\] is an array of float64"):
        model.predict(np.zeros((10, 10, 3)))


def test_a_zip_that_changed_is_read_anew(trained, tmp_path, monkeypatch):
    from blastscope.prediction import journal, pipeline

    monkeypatch.setattr(pipeline, "BATCH", 2)
    monkeypatch.setattr(journal, "ROWS", 2)
    cells, out = list(trained.images.values())[:4], tmp_path / "b.csv"

    def pack(order):
        with zipfile.ZipFile(tmp_path / "cells.zip", "w") as archive:
            for number, path in enumerate(order):
                archive.write(path, f"{number}.bmp")

    def killed(done, total):
        if done == total:
            raise KeyboardInterrupt

    pack(cells)
    with pytest.raises(KeyboardInterrupt):
        predict([tmp_path / "cells.zip"], [trained.run], out, device="cpu", on_progress=killed)
    pack(cells[::-1])
    found = predict([tmp_path / "cells.zip"], [trained.run], out, device="cpu").frame
    said = trained.p_all(trained.run)
    wanted = [said[path.stem] for path in cells[::-1]]
    assert found["p_all"].to_list() == pytest.approx(wanted, abs=1e-5)


def test_nothing_is_left_behind_where_no_image_can_be_used(trained, tmp_path):
    bad = tmp_path / "bad.bmp"
    bad.write_bytes(b"no image")
    with pytest.raises(BlastscopeError, match="can be used"):
        predict([bad], [trained.run], tmp_path / "x.csv", device="cpu")
    assert list(tmp_path.iterdir()) == [bad]


@pytest.mark.parametrize("nothing", [[], (), np.zeros((0, 9, 9, 3), np.uint8)])
def test_no_image_at_all_is_a_sentence(trained, nothing):
    with pytest.raises(BlastscopeError, match="nothing to predict on"):
        blastscope.load(trained.run, device="cpu").predict(nothing)
