"""Whether a map hangs on what the network learned: the randomization test.

Adebayo et al. (Sanity checks for saliency maps, NeurIPS 2018): scramble the weights layer by
layer, from the head down, and look at the map each time. One that stays as it was shows the
picture and not what was learned of it. Here the weights are permuted within each tensor, so that
a layer keeps the weights it has and loses only their places. One permutation may hit by luck on
weights that draw a map like the trained one, or its opposite, for every cell at once, and no
number of cells tells; so all is done three times over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from blastscope.explanation.attribution import attribute
from blastscope.explanation.cells import ExplainedCells
from blastscope.explanation.layer_groups import layer_groups
from blastscope.explanation.map_measures import Floats, spearman
from blastscope.explanation.models import ExplainedModel
from blastscope.explanation.tables import RANDOMIZATION

SAMPLE = 32
SEED = 24
DRAWS = 3
TRAINED, ANOTHER = "as trained", "another cell"


def randomize(model: ExplainedModel, dataset: ExplainedCells, rows: Sequence[int]) -> pl.DataFrame:
    """Scramble copies of a network from the head down, and follow their Grad-CAM maps.

    Args:
        model: the network, which is left as it is: a copy's weights are read from the run.
        dataset: the cells.
        rows: those to look at, as :func:`sample` draws them.

    Returns:
        The columns of ``RANDOMIZATION``. A row's correlation is Spearman's, of the signed map on
        its own grid with that of the trained network; null where a map is flat. Stage 0 is the
        network as trained, each later one scrambles one more group of layers; stage -1 is the
        trained network's map of another cell instead, drawn at random: maps that are no more
        alike than those have nothing in common but that they are this network's. ``draw`` tells
        the three scrambled copies apart, each from the trained weights; stages -1 and 0, which
        hang on none, have draw 0 alone.
    """
    images = dataset.images(model.settings, rows)
    trained = attribute(model, images, "grad-cam").signed
    others = np.roll(trained, 1, axis=0) if len(rows) > 1 else np.zeros_like(trained)
    cells = [dataset.files[row].cell for row in rows]
    found = [
        _rows(model.name, 0, -1, ANOTHER, cells, spearman(trained, others)),
        _rows(model.name, 0, 0, TRAINED, cells, spearman(trained, trained)),
    ]
    generator = torch.Generator().manual_seed(SEED)
    for draw in range(DRAWS):
        scrambled = replace(model)  # whose weights are read anew
        for stage, group in enumerate(layer_groups(scrambled.classifier), start=1):
            for tensor in group.tensors:
                _permute(tensor, generator)
            signed = attribute(scrambled, images, "grad-cam").signed
            found.append(
                _rows(model.name, draw, stage, group.name, cells, spearman(trained, signed))
            )
    return pl.concat(found)


def _permute(tensor: Tensor, generator: torch.Generator) -> None:
    order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
    with torch.no_grad():
        tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))


def _rows(
    model: str, draw: int, stage: int, layer: str, cells: Sequence[str], found: Floats
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "model": model,
            "stage": stage,
            "layer": layer,
            "cell": cells,
            "correlation": found,
            "draw": draw,
        },
        schema=dict(RANDOMIZATION.columns),
    ).with_columns(pl.col("correlation").fill_nan(None))


def sample(labels: Sequence[str | None], most: int = SAMPLE) -> NDArray[np.int64]:
    """Draw rows evenly over the classes, in random order.

    Args:
        labels: each cell's class; those without one are a class of their own.
        most: how many rows at most.
    """
    drawn = np.random.default_rng(SEED).permutation(len(labels))
    turn = dict.fromkeys(labels, 0)
    turns = []
    for row in drawn:
        turns.append(turn[labels[row]])
        turn[labels[row]] += 1
    chosen = drawn[np.argsort(turns, kind="stable")[:most]]
    return np.random.default_rng(SEED).permutation(chosen)
