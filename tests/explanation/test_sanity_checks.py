import copy
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from blastscope.data.layouts import list_cells
from blastscope.explanation.attribution import attribute
from blastscope.explanation.cells import prepare_cells
from blastscope.explanation.models import open_models
from blastscope.explanation.sanity_checks import (
    DRAWS,
    GROUPS,
    SAMPLE,
    layer_groups,
    randomize,
    sample,
)
from blastscope.models.backbones import make_backbone
from blastscope.recipes.schema import Model
from tests.explanation.handmade import model_of


class Blind(nn.Module):
    """A network in which permuting the weights changes nothing: all of a layer's are alike."""

    def __init__(self, size: int, slope: float = 1.0) -> None:
        super().__init__()
        self.normalise = nn.Identity()
        self.backbone = _Base(size)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1))
        self.size_term = None
        nn.init.constant_(self.backbone.net.conv.weight, 0.5)
        nn.init.constant_(self.head[2].weight, slope)

    def forward(self, images):
        return self.head(self.backbone(images)).squeeze(1)


class HeadAlone(nn.Module):
    """A network in which permuting the head changes all, and permuting the base nothing.

    The base hands on each colour four times, by weights that are all 1.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.normalise = nn.Identity()
        self.backbone = _Base(size, nn.Conv2d(3, 12, 1, groups=3, bias=False))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 1))
        self.size_term = None
        nn.init.ones_(self.backbone.net.conv.weight)
        self.head[2].weight.data = torch.linspace(-1, 1, 12)[None]

    def forward(self, images):
        return self.head(self.backbone(images)).squeeze(1)


class _Base(nn.Module):
    gives_maps = True
    layers = ("conv",)

    def __init__(self, size: int, conv: nn.Module | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential()
        self.net.add_module("conv", conv or nn.Conv2d(3, 2, 1, bias=False))
        self.shape = (self.net.conv.out_channels, size, size)

    def forward(self, images):
        return self.net(images.float())


def by_hand(network, size=32):
    model = model_of(network, size)
    model.run.classifier = lambda: copy.deepcopy(network)  # a run reads its weights each time
    return model


@pytest.fixture
def cells(dataset, tmp_path):
    return lambda *models: prepare_cells(
        list_cells([dataset(2, 2)]), [model.settings for model in models], tmp_path / "work"
    )


def test_a_map_that_hangs_on_no_weight_stays_as_it_was(cells):
    model = by_hand(Blind(32))
    found = randomize(model, cells(model), range(8))
    by_stage = found.group_by("stage", maintain_order=True).agg(
        pl.first("layer"), pl.col("draw").unique(maintain_order=True), "correlation"
    )
    assert by_stage["stage"].to_list() == [-1, 0, 1, 2]
    assert by_stage["layer"].to_list() == ["another cell", "as trained", "head", "conv"]
    assert by_stage["draw"].to_list() == [[0], [0], [0, 1, 2], [0, 1, 2]]
    for stage, draws in ((0, 1), (1, 3), (2, 3)):
        correlations = by_stage["correlation"][stage + 1].to_list()
        assert correlations == pytest.approx([1.0] * 8 * draws)
    assert max(by_stage["correlation"][0]) < 0.99


def by_draw(found, stage):
    chosen = found.filter(stage=stage).sort("draw", maintain_order=True)
    return chosen["correlation"].to_numpy().reshape(DRAWS, -1)


def test_what_was_scrambled_stays_scrambled(cells):
    model = by_hand(HeadAlone(32))
    found = randomize(model, cells(model), range(8))
    head, both = (by_draw(found, stage) for stage in (1, 2))
    assert np.abs(head).mean() < 0.9
    assert both == pytest.approx(head)


def test_draws_differ_and_each_begins_as_trained(cells):
    model = by_hand(HeadAlone(32))
    head = by_draw(randomize(model, cells(model), range(8)), 1)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(head[one] - head[other]).max() > 0.01
    network = Blind(32)  # its head is all alike, so that the first stage changes nothing
    base = torch.tensor([[3.0, -2, 0], [0, 0, -1]])
    network.backbone.net.conv.weight.data = base[..., None, None]
    model = by_hand(network)
    found = randomize(model, cells(model), range(8))
    assert by_draw(found, 1) == pytest.approx(1)
    assert by_draw(found, 2).mean() < 0.99


def test_another_cell_is_the_one_before(cells):
    model = by_hand(Blind(32))
    dataset = cells(model)
    rows = [5, 0, 3]
    maps = attribute(model, dataset.images(model.settings, rows)).signed
    found = randomize(model, dataset, rows).filter(stage=-1)
    assert found["cell"].to_list() == [dataset.files[row].cell for row in rows]
    pairs = [(0, 2), (1, 0), (2, 1)]
    wanted = [spearmanr(maps[a].ravel(), maps[b].ravel()).statistic for a, b in pairs]
    assert found["correlation"].to_list() == pytest.approx(wanted)


def test_a_flat_map_and_a_lone_cell_have_no_correlation(cells):
    model = by_hand(Blind(32, slope=0.0))
    found = randomize(model, cells(model), range(4))
    assert found["correlation"].null_count() == len(found) == 4 * (2 + 2 * DRAWS)
    model = by_hand(Blind(32))
    alone = randomize(model, cells(model), [2])
    assert alone.filter(pl.col("correlation").is_null())["stage"].to_list() == [-1]


def test_a_trained_networks_maps_change_and_its_weights_do_not(trained, tmp_path):
    (model,) = open_models([trained.run], torch.device("cpu")).models
    listing = list_cells([next(iter(trained.images.values())).parents[1]])
    dataset = prepare_cells(listing, [model.settings], tmp_path)
    before = {name: value.clone() for name, value in model.classifier.state_dict().items()}
    rows = sample([item.label for item in dataset.files], 12).tolist()
    found = randomize(model, dataset, rows)
    for name, value in model.classifier.state_dict().items():
        assert torch.equal(value, before[name]), name
    layers = found.unique("stage", maintain_order=True)["layer"].to_list()
    assert layers == ["another cell", "as trained", "head", "conv4", "conv3", "conv2", "conv1"]
    assert found.filter(stage=5)["correlation"].abs().mean() < 0.9
    assert found.equals(randomize(model, dataset, rows))  # seeded


def test_the_sample_is_even_over_the_classes():
    labels = ["all"] * 500 + ["hem"] * 60 + [None] * 3
    drawn = sample(labels)
    assert len(set(drawn.tolist())) == SAMPLE
    counts = {label: [labels[k] for k in drawn].count(label) for label in ("all", "hem", None)}
    assert counts[None] == 3
    assert abs(counts["all"] - counts["hem"]) <= 1
    # Neighbours are the pairs of "another cell": they are not all of different classes.
    assert len({labels[a] == labels[b] for a, b in zip(drawn, np.roll(drawn, 1), strict=True)}) == 2
    assert sorted(sample(["all", "hem", "hem"])) == [0, 1, 2]


@pytest.mark.parametrize(
    ("backbone", "cut", "names"),
    [
        ("cnn4", None, ["head", "conv4", "conv3", "conv2", "conv1"]),
        ("resnet18", None, ["head", "layer4", "layer3", "layer2", "layer1", "conv1"]),
        ("resnet18", "layer3", ["head", "layer3", "layer2", "layer1", "conv1"]),
        (
            "mobilenetv2_050",
            None,
            ["head", "blocks.6 to conv_head", "blocks.5", "blocks.4", "blocks.3", "blocks.2",
             "blocks.1", "conv_stem to blocks.0"],
        ),
        ("vgg11", None, None),
        ("deit_tiny_patch16_224", None, None),
    ],
)  # fmt: skip
def test_groups_hold_all_that_was_learned_once(backbone, cut, names):
    model = Model.model_construct(backbone=backbone, weights="none", cut=cut)
    made = make_backbone(model, 64)
    head = nn.Sequential(nn.Linear(made.shape[0], 1))
    groups = layer_groups(SimpleNamespace(backbone=made, head=head))
    tensors = [tensor for group in groups for tensor in group.tensors]
    learned = [*made.net.parameters(), *head.parameters()]
    statistics = [b for name, b in made.net.named_buffers() if name.endswith(("_mean", "_var"))]
    assert {id(t) for t in tensors} == {id(t) for t in (*learned, *statistics)}
    assert len(tensors) == len(learned) + len(statistics)
    assert 3 <= len(groups) <= GROUPS
    if names:
        assert [group.name for group in groups] == names
