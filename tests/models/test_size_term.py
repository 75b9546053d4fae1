"""The term by hand, its fit against a known rule, and every path through a network."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save
from scipy.special import expit
from sklearn.metrics import log_loss

from blastscope.adaptation.correction import fit_correction
from blastscope.engines.last_layer import FeatureEngine, LastLayer, replace_last_layer
from blastscope.errors import BlastscopeError
from blastscope.evaluation.size_fit import fit_size
from blastscope.explanation.target_layer import open_at_target_layer
from blastscope.export.onnx_graph import onnx_graph
from blastscope.models.classifier import build_model
from blastscope.models.frozen_split import split_frozen
from blastscope.models.size_term import SizeTerm
from blastscope.recipes.library import load_recipe
from blastscope.recipes.schema import SizeTermSettings

SETTINGS = SizeTermSettings(slope=4.0, centre=0.5, smallest=0.25, largest=0.9)
RECIPE = """
title: A tiny network with a term of size
input: {size: 48, scale: keep, normalization: unit}
model:
  backbone: cnn4-small
  weights: none
  head: [gap]
  trainable: TRAINED
  size_term: {slope: 4.0, centre: 0.5, smallest: 0.25, largest: 0.9}
training: {optimizer: adam, rate: 0.01, epochs: 1, balance: none}
"""


def network(tmp_path, trained="all"):
    path = tmp_path / "sized.yaml"
    path.write_text(RECIPE.replace("TRAINED", trained))
    torch.manual_seed(0)
    return build_model(load_recipe(str(path)), None, pretrained=False).eval()


def cells_of(*sides: tuple[int, int], size: int = 48) -> torch.Tensor:
    images = torch.zeros(len(sides), 3, size, size, dtype=torch.uint8)
    for image, (height, width) in zip(images, sides, strict=True):
        image[:, 3 : 3 + height, 2 : 2 + width] = 90
    return images


def test_the_term_by_hand():
    images = cells_of((24, 10), (12, 36), (4, 4), (45, 45))
    found = SizeTerm(SETTINGS)(images)
    by_hand = [4 * math.log(side / 0.5) for side in (24 / 48, 36 / 48, 0.25, 0.9)]
    assert found.tolist() == pytest.approx(by_hand, abs=1e-5)


def test_turning_and_dark_noise_change_nothing():
    images = cells_of((24, 10))
    term = SizeTerm(SETTINGS)
    assert term(images) == term(images.transpose(2, 3)) == term(images.clamp(min=12))


def test_the_term_is_added_in_prediction_and_not_in_training(tmp_path):
    net, images = network(tmp_path), cells_of((24, 10), (12, 36))
    plain = net.head(net.backbone(net.normalise(images))).squeeze(1)
    assert torch.allclose(net(images), plain + SizeTerm(SETTINGS)(images), atol=1e-6)
    for layer in net.modules():
        layer.training = layer is net
    assert torch.allclose(net(images), plain, atol=1e-6)


def test_onnx_and_grad_cam_see_the_same_logits(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    net, images = network(tmp_path), cells_of((24, 10), (12, 36), (48, 48))
    with torch.no_grad():
        logits = net(images)
        opened = open_at_target_layer(net, 48)(images)
    assert torch.allclose(opened, logits, atol=1e-6)
    session = onnxruntime.InferenceSession(onnx_graph(net, "one", 48))
    views, _ = session.run(None, {"pixels": images.permute(0, 2, 3, 1).numpy()})
    assert views[:, 0] == pytest.approx(logits.numpy(), abs=1e-4)


def test_the_last_layer_is_found_behind_the_term_and_can_be_replaced(tmp_path):
    net = network(tmp_path)
    weights = save({name: tensor.contiguous() for name, tensor in net.state_dict().items()})
    model = onnx_graph(net, "dihedral", 48, weights)
    pixels = cells_of((24, 10), (12, 36), (48, 48)).permute(0, 2, 3, 1).numpy()
    engine = FeatureEngine(model, weights)
    found = engine.compute(pixels)
    with torch.no_grad():
        term = SizeTerm(SETTINGS)(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    assert found.added == pytest.approx(term, abs=1e-4)
    assert found.logits == pytest.approx(engine.layer.logits(found.values) + term, abs=1e-4)
    other = LastLayer(-2 * engine.layer.weight, 0.75)
    again = FeatureEngine(*replace_last_layer(model, weights, other)).compute(pixels)
    assert again.logits == pytest.approx(other.logits(found.values) + term, abs=1e-3)


def test_a_correction_leaves_the_term_as_it_is():
    """Cells whose term alone tells the classes: nothing is left to correct."""
    rng = np.random.default_rng(0)
    features, added = rng.normal(size=(400, 5)), rng.normal(0, 2, 400)
    is_all = rng.random(400) < 1 / (1 + np.exp(-added))
    found = fit_correction(is_all, np.zeros(400) + 1e-9 * added, features, added)
    assert found is not None
    of_layer = found.logits(np.zeros(400), features)
    assert np.abs(of_layer).mean() < 0.4
    assert log_loss(is_all, expit(of_layer + added)) < log_loss(is_all, expit(added))


def test_a_frozen_network_is_not_split_from_its_image(tmp_path):
    assert split_frozen(network(tmp_path, "head"), 48) is None


def test_a_cropped_cell_has_no_size(tmp_path):
    path = tmp_path / "cropped.yaml"
    path.write_text(RECIPE.replace("TRAINED", "all").replace("scale: keep", "scale: crop"))
    with pytest.raises(BlastscopeError, match="size_term"):
        load_recipe(str(path))


def test_the_fit_finds_the_rule_that_made_the_cells():
    rng = np.random.default_rng(5)
    n = 40_000
    size = rng.uniform(100, 250, n)
    p = 1 / (1 + np.exp(-5 * np.log(size / 180)))
    is_all = rng.random(n) < p
    # the balance between the classes must not matter: throw away half of the normal cells
    kept = is_all | (rng.random(n) < 0.5)
    share = is_all.mean() / (1 - is_all.mean())
    cells = pl.DataFrame(
        {
            "subject": [f"{'A' if a else 'H'}{k % 20}" for k, a in enumerate(is_all)],
            "label": np.where(is_all, "all", "hem"),
            "box_w": size.round().astype(int),
            "box_h": np.full(n, 90),
        }
    ).filter(pl.Series(kept))
    found = fit_size(cells, 320)
    assert found.slope == pytest.approx(5, abs=0.15)
    # classes weigh the same, so the centre moves by the log of their ratio
    assert found.centre * 320 == pytest.approx(180 * share ** (1 / 5), rel=0.02)
    assert found.subjects == 40
    assert (found.smallest, found.largest) == pytest.approx((101.5 / 320, 248.5 / 320), abs=0.003)


def test_every_subject_counts_the_same():
    def of(subject, label, sizes):
        return pl.DataFrame({"subject": subject, "label": label, "box_w": sizes, "box_h": 1})

    rng = np.random.default_rng(1)
    sizes = {
        name: rng.normal(mean, 20, 50).round().astype(int)
        for name, mean in (("1", 210), ("2", 170), ("H1", 160), ("H2", 200))
    }
    labels = {name: "hem" if name.startswith("H") else "all" for name in sizes}
    once = pl.concat(of(name, labels[name], values) for name, values in sizes.items())
    often = pl.concat([once, *[of("H2", "hem", sizes["H2"])] * 9])
    assert fit_size(often, 320).slope == pytest.approx(fit_size(once, 320).slope, rel=1e-3)


@pytest.mark.parametrize("labels", [["all", "all"], ["hem", "hem"]])
def test_one_class_is_refused(labels):
    cells = pl.DataFrame({"subject": ["1", "2"], "label": labels, "box_w": [3, 4], "box_h": [3, 4]})
    with pytest.raises(BlastscopeError):
        fit_size(cells, 320)


@pytest.mark.parametrize(
    "sides",
    [
        [200, 220, 100, 120],  # apart: the slope has no end
        [100, 200, 100, 200],  # alike
        [100, 200, 0, 220],
    ],
)
def test_sizes_that_no_slope_fits_are_refused(sides):
    cells = pl.DataFrame(
        {"subject": list("aabb"), "label": ["all"] * 2 + ["hem"] * 2, "box_w": sides, "box_h": 0}
    )
    with pytest.raises(BlastscopeError):
        fit_size(cells, 320)


def test_a_subject_with_both_classes_counts_as_one_in_each():
    parts = [("1", "all", 210, 40), ("1", "hem", 180, 400), ("2", "all", 190, 60)]
    parts += [("H1", "hem", 170, 50)]

    def fitted(rename):
        rng = np.random.default_rng(3)
        return fit_size(
            pl.concat(
                pl.DataFrame(
                    {
                        "subject": rename(name, label),
                        "label": label,
                        "box_w": rng.normal(mean, 20, count).round().astype(int),
                        "box_h": 1,
                    }
                )
                for name, label, mean, count in parts
            ),
            320,
        )

    one = fitted(lambda name, label: name)
    two = fitted(lambda name, label: name + label)
    assert (one.slope, one.centre) == pytest.approx((two.slope, two.centre))
