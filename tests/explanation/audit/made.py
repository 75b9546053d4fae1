"""The two tables of an audit, made by hand: what is not given is drawn at random."""

from __future__ import annotations

import numpy as np
import polars as pl

from blastscope.explanation.audit.summary import summarize
from blastscope.explanation.map_measures import RADII
from blastscope.explanation.tables import AUDIT, RANDOMIZATION, SCALES

BINS = len(RADII) - 1
LAYERS = ("as trained", "head", "block 2", "block 1")
RANDOMIZED = dict(RANDOMIZATION.columns)
LABELS = ["all"] * 30 + ["hem"] * 30
NO_TEST = pl.DataFrame(schema=RANDOMIZED)
SCALED = dict.fromkeys(["m", "A", "B"], "keep")


def cells_of(labels, model="m", models=1, place=0, seed=0, subjects=None, **columns):
    """Rows of one model; a column given replaces the one drawn, None making it null."""
    rng = np.random.default_rng(seed)
    n = len(labels)
    sign = np.where(np.array(labels) == "all", 1.0, -1.0)
    logit = 2 * sign + rng.normal(size=n)
    area = np.column_stack([np.full(n, 0.7), np.full(n, 0.05), np.full(n, 0.25)])
    heat, occlusion, other = (rng.dirichlet([14, 1, 5], n) for _ in range(3))
    falling = 0.9 - 0.06 * np.arange(11)
    data = {
        "cell": [f"c{k:04}" for k in range(n)],
        "subject": subjects or [f"{label}{k % 6}" for k, label in enumerate(labels)],
        "label": list(labels),
        "model": [model] * n,
        "p_all": 1 / (1 + np.exp(-logit)),
        "called": np.where(logit > 0, "all", "hem").tolist(),
        "side": (200 + 20 * sign + 15 * rng.normal(size=n)).round().astype(int),
        "agreement": [[None if k == place else 0.5 for k in range(models)]] * n,
        "radius": (sign[:, None] * np.linspace(2, 0, BINS) + rng.normal(0, 0.1, (n, BINS))),
        "logits_scaled": logit[:, None] + np.log(np.array(SCALES))[None, :],
        "p_same_size": 1 / (1 + np.exp(-logit)),
        "p_there_and_back": 1 / (1 + np.exp(-logit)),
    }
    for k, region in enumerate(("cell", "debris", "background")):
        data[f"grad_cam_{region}"] = heat[:, k]
        data[f"area_{region}"] = area[:, k]
        data[f"occlusion_{region}"] = occlusion[:, k]
        data[f"other_{region}"] = other[:, k]
    for k, method in enumerate(("occlusion", "grad_cam", "grad_cam_pp", "random", "other")):
        noise = rng.normal(0, 0.02, (n, 1))
        data[f"deletion_{method}"] = falling + 0.05 * k + noise
        data[f"insertion_{method}"] = falling[::-1] - 0.05 * k + noise
    data |= columns
    lists = {
        name: [None] * n if values is None else np.asarray(values).tolist()
        if isinstance(values, np.ndarray) else list(values)
        for name, values in data.items()
    }  # fmt: skip
    return pl.DataFrame(lists, schema=dict(AUDIT.columns))


def randomized_of(model="m", cells=12, last=0.1, between=0.1, spread=0.05, seed=0, draws=1):
    """Rows of one model whose |correlation| falls evenly from 1 to ``last``, in every draw."""
    rng = np.random.default_rng(seed)
    rows = []
    for stage, (layer, level) in enumerate(zip(LAYERS, np.linspace(1, last, 4), strict=True)):
        for draw in range(draws if stage else 1):
            found = level + (spread * rng.normal(size=cells) if stage else np.zeros(cells))
            rows += [(model, stage, layer, f"c{k:04}", float(c), draw) for k, c in enumerate(found)]
    other = between + spread * rng.normal(size=cells)
    rows += [(model, -1, "another cell", f"c{k:04}", float(c), 0) for k, c in enumerate(other)]
    return pl.DataFrame(rows, schema=RANDOMIZED, orient="row")


def only(cells, randomization=NO_TEST, scale="keep"):
    (model,) = summarize(cells, randomization, {"m": scale}).models
    return model
