"""SDCT-AuxNet against published counts, SciPy, scikit-learn and Macenko's procedure on a cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from sklearn.svm import SVC

from blastscope.data.images import read_image
from blastscope.models.classifier import build_model
from blastscope.models.normalization import optical_density
from blastscope.models.sdct import STAIN_BASIS, StainTransform, make_sdct
from blastscope.models.svm import RbfSvm
from blastscope.recipes.schema import Recipe, Svm
from tests.models.recipes import recipe

SETTINGS = Svm(c=10.0, gamma=100.0, below=0.9)


def sdct(size: int = 48, **model: object) -> Recipe:
    return recipe("sdct", size, "od", head=["bilinear"], **model)


def test_the_count_of_weights_is_the_published_one():
    """95,371 with two outputs of 4,096 values; here one logit, the difference of the two."""
    with torch.device("meta"):
        classifier = build_model(sdct(350))
    assert sum(p.numel() for p in classifier.parameters()) + 4096 + 1 == 95_371
    assert classifier.backbone.shape == (64, 10, 10)


def test_the_stain_layer_starts_at_the_inverse_of_its_basis():
    weight = make_sdct("sdct", 48).stain.deconvolution.weight.detach().view(3, 3).numpy()
    np.testing.assert_allclose(weight @ np.array(STAIN_BASIS), np.eye(3), atol=1e-5)
    stains = np.array(STAIN_BASIS)
    np.testing.assert_allclose(np.linalg.norm(stains, axis=0), 1, atol=1e-3)


def test_the_basis_is_macenkos_of_a_cell(shared: Path):
    path = shared / "data/C-NMC_training_data/fold_1/all/UID_16_11_1_all.webp"
    if not path.is_file():
        pytest.skip(f"no cells: there is no {path}")
    pixels = read_image(path).pixels.reshape(-1, 3) / 255
    density = -np.log(np.clip(pixels[pixels.max(1) > 0], 1 / 255, 1)).T
    density = density[:, np.linalg.norm(density, axis=0) > 0.15]
    vectors = np.linalg.svd(density, full_matrices=False)[0]
    vectors = vectors * np.where((vectors < 0).sum(0) > 1, -1, 1)
    plane = np.linalg.pinv(vectors) @ density
    low, high = np.percentile(np.arctan(plane[1] / plane[0]), [0.1, 99.9])
    stains = [np.cos(t) * vectors[:, 0] + np.sin(t) * vectors[:, 1] for t in (low, high)]
    np.testing.assert_allclose(np.stack([*stains, vectors[:, 2]], 1), STAIN_BASIS, atol=1e-3)


def test_the_transform_is_scipys():
    layer = StainTransform(24)
    with torch.no_grad():
        layer.deconvolution.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
    densities = torch.rand(2, 3, 24, 24)
    found = layer(densities).detach().numpy()
    transform = dctn(np.tanh(densities.numpy()), axes=(2, 3), norm="ortho")
    np.testing.assert_allclose(
        found, np.sign(transform) * np.log10(1 + np.abs(transform)), atol=1e-5
    )


def test_optical_density_by_hand():
    images = torch.tensor([[255.0, 0.0], [25.5, 0.0], [0.0, 0.0]]).view(1, 3, 1, 2)
    found = optical_density(images)[0, :, 0]
    assert found[:, 0].tolist() == pytest.approx([0, 1, np.log10(255)], abs=1e-6)
    assert found[:, 1].tolist() == [0, 0, 0]  # black was cut away


def test_the_machine_is_scikit_learns_and_decides_only_unsure_cells(tmp_path):
    rng = np.random.default_rng(0)
    values, truth = rng.normal(size=(60, 9)) / 10, rng.random(60) < 0.5
    machine = SVC(C=10, gamma=100).fit(values, truth)
    ours = RbfSvm(SETTINGS, 9)
    logits = torch.tensor([0.0, 2.0, 3.0, -3.0])  # .9 is a logit of 2.197
    maps = torch.from_numpy(values[:4]).float().view(4, 1, 3, 3)
    assert ours.decided(maps, logits).equal(logits)  # not fitted, it decides nothing
    parts = (machine.support_vectors_, machine.dual_coef_[0], machine.intercept_)
    ours.fill(*(torch.tensor(part, dtype=torch.float32) for part in parts))
    expected = machine.decision_function(values)
    np.testing.assert_allclose(ours(torch.from_numpy(values).float()), expected, atol=1e-4)
    found = ours.decided(maps, logits)
    np.testing.assert_allclose(found[:2], expected[:2], atol=1e-4)
    assert found[2:].tolist() == [3.0, -3.0]


def test_a_fitted_machine_travels_with_the_weights():
    settings = {"c": 10.0, "gamma": 100.0, "below": 0.9}
    first, second = (build_model(sdct(svm=settings)).eval() for _ in range(2))
    assert first.svm is not None
    first.svm.fill(torch.rand(5, 1), torch.randn(5), torch.zeros(1))
    second.load_state_dict(first.state_dict())
    images = torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        assert second(images).equal(first(images))
        assert not torch.equal(
            first.head(first.backbone(first.normalise(images)))[:, 0], first(images)
        )
