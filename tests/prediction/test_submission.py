"""From runs and numbered images, or from a table, to a submission."""

from __future__ import annotations

import shutil
import zipfile

import cv2
import polars as pl
import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from blastscope.api.evaluate import evaluate
from blastscope.cli import app, main
from blastscope.errors import BlastscopeError
from blastscope.io.files import sha256_of
from blastscope.io.predictions import read_predictions
from blastscope.prediction.submission import submit_images, submit_table
from tests.conftest import draw_cell, write_cell


def lines(path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.read("isbi_valid.predict").decode().splitlines()


def test_a_run_says_of_numbered_images_what_it_said_of_the_cells(trained, numbered, tmp_path):
    images, cells = numbered()
    made = submit_images([trained.run], images, tmp_path / "out", device="cpu")
    frame, metadata = read_predictions(made.predictions)
    # The order of the numbers, 10 behind 9, in the table as in the file.
    assert frame["cell"].to_list() == [str(n) for n in range(1, 13)]
    known = trained.p_all(trained.run)
    assert frame["p_all"].to_list() == pytest.approx([known[cell] for cell in cells], abs=1e-5)
    assert lines(made.path) == [str(int(p > 0.5)) for p in frame["p_all"]]
    assert metadata["checkpoint"] == sha256_of(trained.run / "checkpoint.safetensors")
    assert (set(frame["part"]), made.lines) == ({"test"}, 12)
    assert made.called_all == lines(made.path).count("1")


def test_several_runs_vote_with_the_mean_each_on_cells_prepared_its_way(
    trained, numbered, tmp_path
):
    images, cells = numbered()
    seen = []
    made = submit_images(
        [trained.run, trained.other],
        images,
        tmp_path / "out",
        device="cpu",
        on_progress=lambda *step: seen.append(step),
    )
    frame, metadata = read_predictions(made.predictions)
    one, two = trained.p_all(trained.run), trained.p_all(trained.other)
    mean = [(one[cell] + two[cell]) / 2 for cell in cells]
    assert frame["p_all"].to_list() == pytest.approx(mean, abs=1e-5)
    assert abs(one[cells[0]] - two[cells[0]]) > 1e-4
    assert "checkpoint" not in metadata
    assert len(metadata["members"]) == 2
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)


def test_the_same_command_again_finds_its_work_and_another_is_refused(trained, numbered, tmp_path):
    images, _ = numbered()
    out = tmp_path / "out"
    submit_images([trained.run], images, out, device="cpu")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    assert submit_images([trained.run], images, out, device="cpu").already
    (out / "submission.zip").unlink()
    again = submit_images([trained.run], images, out, device="cpu")
    assert not again.already
    del before[out / "submission.zip"]
    assert {p: p.stat().st_mtime_ns for p in before} == before
    with pytest.raises(BlastscopeError, match=r"predictions\.parquet is of another model"):
        submit_images([trained.other], images, out, device="cpu")
    assert not submit_images([trained.other], images, out, device="cpu", force=True).already
    name = read_predictions(out / "predictions.parquet")[1]["checkpoint"]
    assert name == sha256_of(trained.other / "checkpoint.safetensors")


def test_a_users_own_zip_is_kept(trained, numbered, tmp_path):
    images, _ = numbered(3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "submission.zip").write_text("mine")
    with pytest.raises(BlastscopeError, match="force"):
        submit_images([trained.run], images, tmp_path / "out", device="cpu")
    assert (tmp_path / "out" / "submission.zip").read_text() == "mine"
    assert not (tmp_path / "out" / "predictions.parquet").exists()


def test_eight_views_are_asked_for_where_the_recipe_has_them(trained, numbered, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    text = (run / "recipe.yaml").read_text()
    assert "views: one" in text
    (run / "recipe.yaml").write_text(text.replace("views: one", "views: dihedral"))
    images, _ = numbered(4)
    seen = []
    made = submit_images(
        [run], images, tmp_path / "a", device="cpu", on_progress=lambda *step: seen.append(step)
    )
    for path in images.iterdir():  # a mirrored image has the same eight views
        cv2.imwrite(str(path), cv2.imread(str(path))[:, ::-1])
    mirrored = submit_images([run], images, tmp_path / "b", device="cpu")
    first, second = (read_predictions(m.predictions)[0]["p_all"] for m in (made, mirrored))
    assert first.to_list() == pytest.approx(second.to_list(), abs=1e-4)
    assert seen[-1] == (4, 4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "2.bmp").unlink(), r"up to 3 but lacks 2"),
        (lambda f: shutil.copy(f / "1.bmp", f / "01.bmp"), r"number 1 twice \(01; 1\)"),
        (lambda f: shutil.copy(f / "1.bmp", f / "one.bmp"), r"not whole numbers \(one\)"),
        (
            lambda f: write_cell(f / "1.png", draw_cell(1, 120, 30)),
            r"names that are not whole numbers",
        ),
        (lambda f: (f / "3.bmp").write_text("text"), r"1 image of .* cannot be used: 3\.bmp is no"),
    ],
)
def test_images_that_are_not_one_to_n_are_refused(trained, numbered, tmp_path, spoil, message):
    images, _ = numbered(3)
    spoil(images)
    for _attempt in range(2):
        with pytest.raises(BlastscopeError, match=message):
            submit_images([trained.run], images, tmp_path / "out", device="cpu")
    assert not list(tmp_path.glob("out/*.*"))


def test_any_format_and_labels_beside_the_folder(trained, numbered, tmp_path):
    images, cells = numbered(3)
    pixels = cv2.imread(str(images / "2.bmp"))
    cv2.imwrite(str(images / "2.png"), pixels)
    (images / "2.bmp").unlink()
    rows = [f"{cell}.bmp,{k}.bmp,{int('all' in cell)}" for k, cell in enumerate(cells, start=1)]
    header = "Patient_ID,new_names,labels"
    (tmp_path / "labels.csv").write_text("\n".join([header, *rows]))
    made = submit_images([trained.run], images, tmp_path / "out", device="cpu")
    known = trained.p_all(trained.run)
    frame = read_predictions(made.predictions)[0]
    assert frame["p_all"].to_list() == pytest.approx([known[cell] for cell in cells], abs=1e-5)
    found = evaluate(made.predictions, labels=tmp_path / "labels.csv")
    assert found.metrics["n"] == 3
    assert found.cells["subject"].to_list() == [cell.split("_")[1] for cell in cells]


def test_runs_that_are_stale_unfinished_or_of_another_network_are_refused(
    trained, numbered, tmp_path
):
    images, _ = numbered(3)
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)

    def refused(message, given=run):
        with pytest.raises(BlastscopeError, match=message):
            submit_images([given], images, tmp_path / "out", device="cpu")
        assert not (tmp_path / "out" / "submission.zip").exists()

    weights = load_file(run / "checkpoint.safetensors")
    changed = {name: tensor + 1 for name, tensor in weights.items()}
    save_file(changed, run / "checkpoint.safetensors")
    refused("stale")
    shutil.copy(trained.run / "checkpoint.safetensors", run / "checkpoint.safetensors")
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("cnn4-small", "cnn4").replace("32", "64"))
    refused("does not fit its recipe")
    (run / "predictions.parquet").unlink()
    refused("not a finished run")
    refused("does not exist", tmp_path / "nothing")
    with pytest.raises(BlastscopeError, match="is not a folder"):
        submit_images([trained.run], tmp_path / "nothing", tmp_path / "out", device="cpu")


def table(tmp_path, *rows, name="ensemble.csv"):
    path = tmp_path / name
    path.write_text("\n".join(["cell,subject,label,part,model,p_all", *rows, ""]))
    return path


def test_a_table_alone_in_the_order_of_the_numbers_half_is_normal(tmp_path):
    p_all = {10: 0.6, 1: 0.5, 2: 0.51, **dict.fromkeys(range(3, 10), 0.1)}
    rows = [f"{k},,,test,mean,{p}" for k, p in p_all.items()]
    made = submit_table(table(tmp_path, *rows, "x,,all,train,mean,0.9"), tmp_path / "out")
    assert lines(made.path) == list("0100000001")
    assert (made.called_all, made.lines, made.model) == (2, 10, "mean")
    assert submit_table(tmp_path / "ensemble.csv", tmp_path / "out").already


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1,,,test,a,0.5", "1,,,test,b,0.5"], r"2 models \(a; b\)"),
        (["1,,,train,a,0.5"], "no test cells"),
        (["UID_1_1_1_all,,,test,a,0.5"], "not whole numbers"),
        (["1,,,test,a,0.5", "3,,,test,a,0.5"], "lacks 2"),
    ],
)
def test_tables_that_are_no_submission_are_refused(tmp_path, rows, message):
    with pytest.raises(BlastscopeError, match=message):
        submit_table(table(tmp_path, *rows), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_as_it_is_typed(trained, numbered, tmp_path, monkeypatch, capsys):
    images, _ = numbered(3)
    arguments = ["submit", trained.run, trained.other, images, "--out", tmp_path / "o"]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0
    assert "of 3 cells called ALL" in done.output
    again = ["submit", tmp_path / "o" / "predictions.parquet", "--out", tmp_path / "o"]
    assert "already" in CliRunner().invoke(app, [str(argument) for argument in again]).output
    pl.DataFrame({"file": ["1.bmp", "2.bmp", "3.bmp"], "label": [0, 1, 1]}).write_csv(
        tmp_path / "labels.csv"
    )
    scored = ["evaluate", tmp_path / "o" / "submission.zip", "--labels", tmp_path / "labels.csv"]
    done = CliRunner().invoke(app, [str(argument) for argument in scored])
    assert done.exit_code == 0
    assert "one operating point" in done.output
    for wrong, message in (
        ([trained.run], "give the folder of images"),
        ([tmp_path / "labels.csv", images], "not a run, ensemble or bundle"),
    ):
        command = ["blastscope", "submit", *wrong, "--out", tmp_path / "p"]
        monkeypatch.setattr("sys.argv", [str(argument) for argument in command])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        assert message in capsys.readouterr().err
