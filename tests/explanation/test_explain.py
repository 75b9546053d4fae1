from __future__ import annotations

import numpy as np
import pytest
import torch

from blastscope.api.fit_ensemble import fit_ensemble
from blastscope.data.crop import Box
from blastscope.errors import BlastscopeError
from blastscope.explanation import explain, measures, models
from blastscope.explanation.attribution import attribute
from blastscope.explanation.cell_image import make_picture, moved
from blastscope.explanation.cells import find_cells, prepare_cells
from blastscope.explanation.explain import explain_cells
from blastscope.explanation.map_measures import agreement, combined_map
from blastscope.explanation.models import open_models
from blastscope.explanation.result import Note, NoteCode

CPU = torch.device("cpu")
SOME = 5


@pytest.fixture(scope="module")
def opened(trained, tmp_path_factory):
    """An ensemble's two members, weighted by votes, and five cells prepared for both."""
    folder = tmp_path_factory.mktemp("explained")
    given = [f"A={trained.run}", f"B={trained.other}"]
    fit_ensemble(given, out=folder / "both", method="vote")
    explained = open_models([folder / "both"], CPU)
    files = [str(path) for path in sorted(trained.images.values())]
    found = find_cells(files[:3] + files[-2:], [])
    settings = [model.settings for model in explained.models]
    return explained, prepare_cells(found, settings, folder / "work")


def test_a_cell_is_what_each_part_says(opened, trained):
    explained, dataset = opened
    methods = ("grad-cam", "occlusion")
    cells = list(explain_cells(explained, dataset, methods))
    assert [cell.file for cell in cells] == list(dataset.files)
    recorded = [trained.p_all(run) for run in (trained.run, trained.other)]
    for row, cell in enumerate(cells):
        for model, one, said in zip(explained.models, cell.models, recorded, strict=True):
            assert one.p_all == pytest.approx(said[cell.file.cell], abs=1e-6)
            assert one.called == ("all" if one.p_all > 0.5 else "hem")
            assert cell.right(one.called) == (cell.file.cell.endswith(one.called))
            images = dataset.images(model.settings, [row])
            np.testing.assert_array_equal(one.seen, images[0].permute(1, 2, 0))
            for method in methods:
                alone = attribute(model, images, method)
                for found, expected in (
                    (one.attributions[method].for_all, alone.for_all),
                    (one.attributions[method].for_normal, alone.for_normal),
                ):
                    laid = cell.picture.on_crop(expected[0], model.settings)
                    np.testing.assert_allclose(found, laid, atol=1e-4)
            assert one.grid == model.opened.shape[1:]
            assert [found.layer.title for found in one.layers] == [
                "first convolution (conv1 to relu1)",
                "first pooling (pool1)",
            ]
            assert one.measured["deletion_grad_cam"][0] == pytest.approx(
                one.p_all if one.called == "all" else 1 - one.p_all, abs=1e-6
            )
        maps = [one.attributions["grad-cam"].signed for one in cell.models]
        whole = cell.ensemble
        votes = sum(one.called == "all" for one in cell.models)
        mean = sum(one.p_all for one in cell.models) / 2
        assert whole.p_all == pytest.approx((votes + mean) / 3)
        np.testing.assert_array_equal(
            whole.signed["grad-cam"], combined_map(maps, explained.combination)
        )
        alike = agreement(np.stack(maps))[0, 1]
        assert cell.models[0].measured["agreement"] == [None, pytest.approx(alike)]
        assert cell.models[1].measured["agreement"] == [pytest.approx(alike), None]


def test_a_few_at_a_time_is_the_same_as_all(opened, monkeypatch):
    explained, dataset = opened
    together = list(explain_cells(explained, dataset, ("grad-cam",), ["pool2"]))
    taken = []

    def counted(model, images, method):
        taken.append(len(images))
        return attribute(model, images, method)

    monkeypatch.setattr(explain, "AT_ONCE", 2)
    monkeypatch.setattr(explain, "attribute", counted)
    cells = explain_cells(explained, dataset, ("grad-cam",), ["pool2"])
    first = next(cells)
    assert taken == [2, 2]  # no more than has to be known of the first cell
    apart = [first, *cells]
    assert taken == [2, 2, 2, 2, 1, 1]
    for one, other in zip(together, apart, strict=True):
        assert one.file == other.file
        for a, b in zip(one.models, other.models, strict=True):
            assert a.p_all == pytest.approx(b.p_all, abs=1e-6)
            np.testing.assert_allclose(
                a.attributions["grad-cam"].signed, b.attributions["grad-cam"].signed, atol=1e-5
            )
            np.testing.assert_allclose(a.layers[0].maps, b.layers[0].maps, atol=1e-5)


def test_no_more_pictures_than_passes_allow(opened, monkeypatch):
    explained, dataset = opened
    monkeypatch.setattr(models, "_PIXELS", 2 * 40**2)
    assert [model.at_once for model in explained.models] == [3, 2]
    taken = {}
    hooks = []
    for model in explained.models:
        for network in (model.classifier, model.opened):

            def count(_, given, name=model.name):
                taken.setdefault(name, []).append(len(given[0]))

            hooks.append(network.register_forward_pre_hook(count))
    cells = list(explain_cells(explained, dataset, ("grad-cam",), ["pool2"]))
    for hook in hooks:
        hook.remove()
    assert len(cells) == SOME
    assert {name: max(sizes) for name, sizes in taken.items()} == {"A": 3, "B": 2}


def test_grad_cam_alone_measures_no_curves(opened, monkeypatch):
    explained, dataset = opened
    batched = []
    for model in explained.models:
        forward = model.classifier.forward

        def counted(images, forward=forward):
            batched.append(len(images))
            return forward(images)

        monkeypatch.setattr(model.classifier, "forward", counted)
    monkeypatch.setattr(measures, "curves", None)
    cells = list(explain_cells(explained, dataset, ("grad-cam",)))
    assert batched == [SOME, SOME]
    assert cells[0].models[0].measured["deletion_grad_cam"] is None
    assert cells[0].models[0].measured["grad_cam_cell"] is not None


def test_what_does_not_apply_is_said(opened):
    explained, dataset = opened
    coarse = open_models([explained.models[0].run.path], CPU, grid=1)
    assert coarse.models[0].opened.shape[1:] == (2, 2)
    assert next(explain_cells(coarse, dataset, ("grad-cam",))).models[0].notes == ()
    last = coarse.models[0].classifier.head[-1]
    name = explained.models[0].run.recipe.name
    for weight, bias, notes in (
        (1.0, 9e3, ()),  # what has passed a ReLU can now speak for ALL alone
        (1.0, -9e3, (Note(NoteCode.NO_ATTRIBUTION, name, ("grad-cam", "hem")),)),
        (-1.0, 9e3, (Note(NoteCode.NO_ATTRIBUTION, name, ("grad-cam", "all")),)),
    ):
        with torch.no_grad():
            last.weight.fill_(weight)
            last.bias.fill_(bias)
        cell = next(explain_cells(coarse, dataset, ("grad-cam",)))
        assert cell.models[0].notes == notes
    assert cell.ensemble is None
    with pytest.raises(BlastscopeError, match="No model has a layer pool9"):
        next(explain_cells(explained, dataset, ("grad-cam",), ["pool9"]))


def test_a_map_on_another_contours_crop_stays_where_it_is():
    whole = np.zeros((60, 60, 3), np.uint8)
    whole[20:40, 20:40] = 90
    own = make_picture(whole, Box(20, 20, 20, 20))
    shown = make_picture(whole, Box(14, 20, 30, 24))
    laid = np.arange(400, dtype=np.float32).reshape(20, 20)
    on_whole = np.zeros((60, 60), np.float32)
    on_whole[20:40, 20:40] = laid
    # A square of 30 about a box of 30 × 24: three rows of padding above.
    np.testing.assert_array_equal(moved(laid, own, shown), on_whole[17 : 17 + 30, 14 : 14 + 30])
    back = moved(moved(laid, own, shown), shown, own)
    np.testing.assert_array_equal(back, laid)
