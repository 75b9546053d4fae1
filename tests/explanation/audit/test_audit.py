import shutil

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from blastscope.data.crop import Box
from blastscope.data.layouts import Listing
from blastscope.errors import BlastscopeError
from blastscope.explanation.attribution import attribute
from blastscope.explanation.audit import audit as parts_of_audit
from blastscope.explanation.audit.audit import audit_cells, run_audit
from blastscope.explanation.cell_image import make_picture
from blastscope.explanation.cells import CellBatch, list_data, prepare_cells
from blastscope.explanation.map_measures import agreement
from blastscope.explanation.models import open_models
from blastscope.explanation.tables import AUDIT, RANDOMIZATION
from blastscope.io.predictions import read_predictions, write_predictions
from blastscope.io.tables import read_table, write_table
from tests.conftest import draw_cell, write_cell
from tests.explanation.handmade import linear_model


class StoppedError(Exception):
    pass


def data_of(trained):
    return next(iter(trained.images.values())).parents[1]


@pytest.fixture(scope="module")
def given(trained, tmp_path_factory):
    explained = open_models([trained.run, f"second={trained.other}"], torch.device("cpu"))
    data = data_of(trained)
    settings = [model.settings for model in explained.models]
    work = tmp_path_factory.mktemp("work")
    return explained, prepare_cells(list_data([data]), settings, work)


@pytest.fixture(scope="module")
def straight(given, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts_of_audit, "BATCH", 10)
        out = tmp_path_factory.mktemp("straight")
        steps = []
        audit = run_audit(*given, out, lambda done, total: steps.append((done, total)))
    return audit, out, steps


def test_what_is_written(given, straight):
    _, dataset = given
    audit, out, steps = straight
    assert sorted(path.name for path in out.iterdir()) == [
        "audit.parquet", "randomization.parquet",
    ]  # fmt: skip
    assert audit.cells.height == 48
    assert audit.cells["cell"].to_list() == [item.cell for item in dataset.files] * 2
    assert audit.cells["model"].unique(maintain_order=True).to_list() == ["tiny", "second"]
    assert set(audit.randomization["model"]) == {"tiny", "second"}
    assert_frame_equal(read_table(out / "audit.parquet", AUDIT)[0], audit.cells)
    written, _ = read_table(out / "randomization.parquet", RANDOMIZATION)
    assert_frame_equal(written, audit.randomization)
    assert steps[-1] == (2 * (24 + 24), 2 * (24 + 24))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_agreement_and_the_common_size(given, straight):
    explained, dataset = given
    row = 13
    laid = []
    for model in explained.models:
        signed = attribute(model, dataset.images(model.settings, [row])).signed[0]
        laid.append(dataset.cell_image(row, model.settings).on_crop(signed, model.settings))
    wanted = agreement(np.stack(laid))
    first, second = straight[0].cells.filter(cell=dataset.files[row].cell)["agreement"].to_list()
    assert first[0] is None
    assert second[1] is None
    assert first[1] == second[0] == pytest.approx(wanted[0, 1], abs=1e-4)
    # A cell that has the median's side already is the same at the same size.
    cells = straight[0].cells
    as_is = cells.filter(pl.col("side") == cells["side"].median())
    assert as_is["p_same_size"].to_list() == pytest.approx(as_is["p_all"].to_list(), abs=1e-6)


@pytest.mark.parametrize("after", [1, 4, 7])
def test_an_audit_that_was_stopped_goes_on(given, straight, tmp_path, monkeypatch, after):
    monkeypatch.setattr(parts_of_audit, "BATCH", 10)
    steps = []

    def stop(*step):
        steps.append(step)
        if len(steps) == after:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_audit(*given, tmp_path, stop)
    assert (tmp_path / ".audit").is_dir()
    assert not (tmp_path / "audit.parquet").exists()
    measured = []
    real = parts_of_audit.measure
    monkeypatch.setattr(
        parts_of_audit,
        "measure",
        lambda model, *a, **k: measured.append(model.name) or real(model, *a, **k),
    )
    audit = run_audit(*given, tmp_path)
    assert len(measured) == max(0, 6 - after)
    assert_frame_equal(audit.cells, straight[0].cells)
    assert_frame_equal(audit.randomization, straight[0].randomization)
    assert not (tmp_path / ".audit").exists()


def test_parts_that_cannot_be_read_are_made_again(given, straight, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_of_audit, "BATCH", 10)
    steps = []

    def stop(*step):
        steps.append(step)
        if len(steps) == 7:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_audit(*given, tmp_path, stop)
    parts = tmp_path / ".audit"
    for name, size in (("000-000000", 500), ("001-000002", 0), ("000-randomized", 900)):
        part = parts / f"{name}.parquet"
        part.write_bytes(part.read_bytes()[:size])
    lacking = parts / "001-000000.parquet"
    write_table(read_table(lacking, AUDIT)[0].drop("coarse"), lacking, AUDIT)
    done = []
    for name in ("measure", "randomize"):
        real = getattr(parts_of_audit, name)
        monkeypatch.setattr(
            parts_of_audit,
            name,
            lambda *a, real=real, name=name, **k: done.append(name) or real(*a, **k),
        )
    audit = run_audit(*given, tmp_path)
    assert done == ["measure"] * 3 + ["randomize"] * 2
    assert_frame_equal(audit.cells, straight[0].cells)
    assert_frame_equal(audit.randomization, straight[0].randomization)


@pytest.fixture
def recorded(trained, tmp_path):
    """A copy of a run whose predictions are off by some, and two cells for it."""

    def copy(off):
        run = tmp_path / f"off{off}"
        shutil.copytree(trained.run, run)
        frame, about = read_predictions(run / "predictions.parquet")
        moved = pl.when(pl.col("cell") == names[1]).then(off).otherwise(0.0)
        moved = frame.with_columns(pl.col("p_all") + moved)
        write_predictions(moved, run / "predictions.parquet", about)
        explained = open_models([f"it={run}"], torch.device("cpu"))
        return explained, prepare_cells(listing, [explained.models[0].settings], tmp_path / "work")

    names = sorted(trained.images)[:2]
    listing = Listing([cell for cell in list_data([data_of(trained)]).cells if cell.cell in names])
    return copy


def test_images_other_than_those_predicted_on_are_refused(recorded, trained, tmp_path):
    explained, dataset = recorded(0.02)
    cell = dataset.files[1].cell
    real = trained.p_all(trained.run)[cell]
    with pytest.raises(BlastscopeError) as error:
        run_audit(explained, dataset, tmp_path / "a")
    said = str(error.value)
    assert f"'{cell}' has p(ALL) {real:.3f}" in said
    assert f"recorded {real + 0.02:.3f}: give the data that it was trained on" in said
    assert run_audit(*recorded(-0.008), tmp_path / "b").cells.height == 2


def test_other_data_is_found_with_the_first_batch(given, trained, tmp_path, monkeypatch):
    """The images of the run's cells, each under the name of another."""
    explained, _ = given
    names = sorted(trained.images)
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        write_to = tmp_path / "data" / name.rsplit("_", 1)[1] / f"{name}.bmp"
        write_to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(trained.images[other], write_to)
    settings = [model.settings for model in explained.models]
    dataset = prepare_cells(list_data([tmp_path / "data"]), settings, tmp_path / "work")
    monkeypatch.setattr(parts_of_audit, "BATCH", 4)
    measured = []
    real = parts_of_audit.measure
    monkeypatch.setattr(
        parts_of_audit,
        "measure",
        lambda model, *a, **k: measured.append(model.name) or real(model, *a, **k),
    )
    with pytest.raises(BlastscopeError, match="give the data that it was trained on"):
        run_audit(explained, dataset, tmp_path / "out")
    assert len(measured) <= 2


def test_without_its_own_predictions_a_model_is_taken_at_its_word(recorded, tmp_path):
    explained, dataset = recorded(0.02)
    (explained.models[0].run.path / "predictions.parquet").unlink()
    assert run_audit(explained, dataset, tmp_path / "out").cells.height == 2


def test_an_audit_that_is_done_is_read_and_another_is_not(given, straight, tmp_path, monkeypatch):
    explained, dataset = given
    out = tmp_path / "out"
    shutil.copytree(straight[1], out)
    monkeypatch.setattr(parts_of_audit, "BATCH", 10)
    monkeypatch.setattr(
        parts_of_audit, "measure", lambda *_, **__: pytest.fail("it is there already")
    )
    audit = run_audit(*given, out)
    assert_frame_equal(audit.cells, straight[0].cells)
    (out / ".audit").mkdir()
    (out / ".audit" / "000-000000.parquet").write_text("of another study")

    def begun(*_, **__):
        raise StoppedError

    monkeypatch.setattr(parts_of_audit, "measure", begun)
    turned = type(explained)(explained.models[::-1], None, "2 models", False)
    with pytest.raises(StoppedError):
        run_audit(turned, dataset, out)
    assert [path.name for path in (out / ".audit").iterdir()] == ["audit.json"]


def test_the_cells_of_a_part(trained):
    data = data_of(trained)
    both = [trained.run, f"second={trained.other}"]
    test = pl.read_parquet(trained.run / "predictions.parquet").filter(part="test")
    found = audit_cells(both, "test", [data])
    assert [item.cell for item in found.cells] == test["cell"].to_list()
    assert [item.label for item in found.cells] == test["label"].to_list()
    assert all(item.path == trained.images[item.cell] for item in found.cells)


def test_cells_that_are_not_there_are_named(trained, tmp_path):
    data = data_of(trained)
    (tmp_path / "some" / "all").mkdir(parents=True)
    shutil.copy(next(data.glob("all/*.bmp")), tmp_path / "some" / "all")
    with pytest.raises(BlastscopeError, match=r"some lacks \d+ of the \d+ test cells of the pred"):
        audit_cells([trained.run], "test", [tmp_path / "some"])


def test_labels_are_the_predictions_and_must_not_contradict_the_datas(tmp_path):
    for name in ("a", "b"):
        write_cell(tmp_path / "flat" / f"{name}.bmp", draw_cell(1, 120, 30))
    table = tmp_path / "said.csv"
    rows = ["cell,subject,label,part,model,p_all", "b,7,hem,test,m,0.1", "a,,,test,m,0.7"]
    table.write_text("\n".join(rows))
    found = audit_cells([table], "test", [tmp_path / "flat"])
    assert [(item.cell, item.label, item.subject) for item in found.cells] == [
        ("b", "hem", "7"), ("a", None, None),
    ]  # fmt: skip
    (tmp_path / "flat").rename(tmp_path / "all")
    with pytest.raises(BlastscopeError, match="the label 'all' for the cell 'b', where the"):
        audit_cells([table], "test", [tmp_path / "all"])


def test_maps_are_compared_where_they_lie_in_the_file(tmp_path):
    """Networks alike, whose contours cut the cell otherwise, agree as far as they see alike."""

    whole = np.zeros((90, 80, 3), np.uint8)
    whole[40:80, 20:60] = 120  # the cell
    whole[5:12, 30:40] = 90  # debris above it, which only the union's box holds
    boxes = {"union": Box(20, 5, 40, 75), "first": Box(20, 40, 40, 40)}

    class Cells:
        def cell_image(self, row, settings):
            return make_picture(whole, boxes[settings.contour])

    models = [
        linear_model(torch.ones(1, 3), torch.ones(1, 16, 16), 16),
        linear_model(torch.ones(1, 3), torch.ones(1, 16, 16), 16),
    ]
    for model, contour in zip(models, boxes, strict=True):
        object.__setattr__(model.run.settings, "contour", contour)
    batch = CellBatch(models, Cells(), [0])
    laid = []
    for model, contour in zip(models, boxes, strict=True):
        picture = make_picture(whole, boxes[contour])
        laid.append(batch.aligned(picture.crop[:, :, 0].astype(np.float32), model, 0))
    assert laid[0].shape == laid[1].shape == (75, 75)
    reach = laid[1] > 0
    np.testing.assert_array_equal(laid[0][reach], laid[1][reach])
    assert reach.sum() == 40 * 40
