import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit
from torch import nn

from blastscope.data.layouts import list_cells
from blastscope.explanation import measures as module
from blastscope.explanation.attribution import attribute
from blastscope.explanation.cell_image import BACKGROUND, CELL, DEBRIS
from blastscope.explanation.cells import prepare_cells
from blastscope.explanation.deletion_insertion import STEPS, curves, rival
from blastscope.explanation.map_measures import RADII
from blastscope.explanation.measures import measure
from blastscope.explanation.models import ExplainedModel, open_models
from blastscope.explanation.size import p_same_size, p_there_and_back
from blastscope.explanation.tables import AUDIT, SCALES
from blastscope.models.dihedral import dihedral_views
from tests.explanation.handmade import linear_model

TRIED = [f"{curve}_{name}" for curve in ("deletion", "insertion")
         for name in ("grad_cam", "grad_cam_pp", "occlusion", "random")]  # fmt: skip
OTHERS = ["deletion_other", "insertion_other", "other_cell", "other_debris", "other_background"]


@pytest.fixture(scope="module")
def opened(trained, tmp_path_factory):
    explained = open_models([trained.run, f"second={trained.other}"], torch.device("cpu"))
    listing = list_cells([next(iter(trained.images.values())).parents[1]])
    settings = [model.settings for model in explained.models]
    return explained.models, prepare_cells(listing, settings, tmp_path_factory.mktemp("work"))


def test_everything(opened, trained):
    (model, _), dataset = opened
    rows = [3, 20, 7]
    found = measure(model, dataset, rows, same_size=50)
    assert found.schema == pl.Schema(AUDIT.columns)
    assert found["cell"].to_list() == [dataset.files[row].cell for row in rows]
    assert found["label"].to_list() == [dataset.files[row].label for row in rows]
    assert found["subject"].to_list() == [dataset.files[row].subject for row in rows]
    said = trained.p_all(trained.run)
    assert found["p_all"].to_list() == pytest.approx([said[c] for c in found["cell"]], abs=1e-5)
    assert (found["called"] == "all").to_list() == [p > 0.5 for p in found["p_all"]]
    assert found["agreement"].null_count() == 3
    for column in TRIED:
        assert found[column].list.len().to_list() == [STEPS] * 3
    assert found["radius"].list.len().to_list() == [len(RADII) - 1] * 3
    at_1 = found["logits_scaled"].list.get(SCALES.index(1))
    assert expit(at_1.to_numpy()) == pytest.approx(found["p_all"].to_numpy())
    assert found["p_same_size"].null_count() == 0
    assert found["p_there_and_back"].null_count() == 0
    assert [found[column].null_count() for column in OTHERS] == [3] * 5
    once = expit(model.logits(dataset.images(model.settings, rows), tta=False))
    of_call = np.where(once > 0.5, once, 1 - once)
    assert found["deletion_random"].list.first().to_list() == pytest.approx(of_call)


def test_attribution_is_that_of_the_map(opened):
    (model, _), dataset = opened
    row = 5
    found = measure(model, dataset, [row], ["grad-cam"]).row(0, named=True)
    maps = attribute(model, dataset.images(model.settings, [row])).at_size(model.size)
    heat = (maps.for_all if found["p_all"] > 0.5 else maps.for_normal)[0]
    on_cell = dataset.cell_image(row, model.settings).regions_at(model.settings) == CELL
    assert found["area_cell"] == pytest.approx(on_cell.mean())
    if heat.any():
        assert found["grad_cam_cell"] == pytest.approx(heat[on_cell].sum() / heat.sum(), rel=1e-5)
    else:
        assert found["grad_cam_cell"] is None


def test_grad_cam_alone_costs_its_logit_and_nothing_else(opened, monkeypatch):
    (model, _), dataset = opened
    rows = range(10)
    found = {"grad-cam": attribute(model, dataset.images(model.settings, rows))}
    wanted = measure(model, dataset, rows, ["grad-cam"])
    passes = []
    forward = ExplainedModel.logits
    monkeypatch.setattr(
        ExplainedModel, "logits", lambda *a, **k: passes.append(len(a[1])) or forward(*a, **k)
    )
    monkeypatch.setattr(module, "attribute", lambda *_: pytest.fail("it was given"))
    quick = measure(model, dataset, rows, ("grad-cam",), found)
    assert sum(passes) == 10
    assert quick.equals(wanted)
    rescaled = ("logits_scaled", "p_same_size", "p_there_and_back")
    for column in (*TRIED, *OTHERS, "occlusion_cell", *rescaled, "agreement"):
        assert quick[column].null_count() == 10
    assert quick["radius"].null_count() == 0


def test_what_was_found_before_is_taken(opened):
    (model, _), dataset = opened
    methods = ["grad-cam", "occlusion"]
    images = dataset.images(model.settings, [1, 2])
    found = {method: attribute(model, images, method) for method in methods}
    pictures = [dataset.cell_image(row, model.settings) for row in (1, 2)]
    given = measure(model, dataset, [1, 2], methods, found, pictures=pictures)
    assert given.equals(measure(model, dataset, [1, 2], methods))
    assert given["deletion_grad_cam_pp"].null_count() == 2
    assert given["occlusion_cell"].null_count() == 0


def test_a_cell_fares_the_same_in_any_company(opened):
    (_, model), dataset = opened
    alone = measure(model, dataset, [4]).row(0, named=True)
    among = measure(model, dataset, [9, 4, 2]).row(1, named=True)
    for name, value in alone.items():
        if isinstance(value, float | list):
            assert np.array(among[name], float) == pytest.approx(np.array(value, float), abs=1e-4)
        else:
            assert among[name] == value


def test_another_cells_map_is_that_of_the_next_for_its_own_call(opened):
    (model, _), dataset = opened
    rows = [4, 9, 2, 11]
    found = measure(model, dataset, rows, others=True)
    plain = measure(model, dataset, rows)
    assert found.drop(OTHERS).equals(plain.drop(OTHERS))
    images = dataset.images(model.settings, rows)
    calls = found["p_all"].to_numpy() > 0.5
    maps = attribute(model, images).at_size(model.size)
    own = [(maps.for_all if call else maps.for_normal)[k] for k, call in enumerate(calls)]
    taken = np.stack([own[1], own[2], own[3], own[0]])
    rivals = rival([dataset.files[row].cell for row in rows], model)
    wanted = curves(model, images, {"m": taken}, rivals, calls)["m"]
    assert np.array(found["deletion_other"].to_list()) == pytest.approx(wanted.deletion)
    assert np.array(found["insertion_other"].to_list()) == pytest.approx(wanted.insertion)
    regions = [dataset.cell_image(row, model.settings).regions_at(model.settings) for row in rows]
    for name, value in (("cell", CELL), ("debris", DEBRIS), ("background", BACKGROUND)):
        by_hand = [
            heat[on == value].sum() / heat.sum() if heat.any() else None
            for heat, on in zip(taken, regions, strict=True)
        ]
        assert found[f"other_{name}"].to_list() == pytest.approx(by_hand, rel=1e-4)
    assert found["other_cell"].null_count() < 4


def test_a_lone_cell_has_no_other(opened):
    (model, _), dataset = opened
    found = measure(model, dataset, [4], others=True)
    assert [found[column].null_count() for column in OTHERS] == [1] * 5
    quick = measure(model, dataset, [4, 9], ["grad-cam"], others=True)
    assert quick["deletion_other"].null_count() == 2


class Floats(nn.Module):
    def forward(self, images):
        return images.float()


def test_calls_are_of_all_views_and_curves_of_one(dataset, tmp_path):
    size = 32
    head = torch.randn(1, size, size, generator=torch.Generator().manual_seed(2)) / 400
    head -= dihedral_views(head.expand(8, 1, size, size), torch.arange(8)).mean(dim=0) * 0.99
    model = linear_model(torch.tensor([[1.0, 0, 0]]), head, size, views="dihedral")
    model.classifier.normalise = Floats()
    dataset = prepare_cells(list_cells([dataset(2, 2)]), [model.settings], tmp_path)
    rows = [0, 5, 6]
    red = dataset.images(model.settings, rows)[:, 0].double().numpy()
    views = [np.rot90(seen, k, (1, 2)) for seen in (red, red[:, :, ::-1]) for k in range(4)]
    weights = head[0].double().numpy()
    logits = np.array([(view * weights).sum(axis=(1, 2)) for view in views])
    assert logits.std(axis=0).min() > 0.1
    found = measure(model, dataset, rows, same_size=50)
    assert found["p_all"].to_list() == pytest.approx(expit(logits.mean(axis=0)), abs=1e-5)
    at_1 = found["logits_scaled"].list.get(SCALES.index(1))
    assert at_1.to_list() == pytest.approx(logits.mean(axis=0), abs=1e-4)
    pictures = [dataset.cell_image(row, model.settings) for row in rows]
    for at_own_size in (p_same_size, p_there_and_back):
        alone = [at_own_size(model, [one], one.side)[0] for one in pictures]
        assert alone == pytest.approx(expit(logits.mean(axis=0)), abs=1e-5)
    once = expit(np.where(found["called"].to_numpy() == "all", 1, -1) * logits[0])
    assert found["deletion_grad_cam"].list.first().to_list() == pytest.approx(once, abs=1e-5)
