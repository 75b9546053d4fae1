"""Predict shards of many images, each a task of its own, on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import polars as pl

from blastscope.cluster import RAY, on_ray
from blastscope.prediction.images import InputImages
from blastscope.prediction.journal import ROWS, Journal
from blastscope.prediction.models import PredictionModel, open_model
from blastscope.prediction.pipeline import predict_rows


@dataclass(frozen=True)
class ModelRequest:
    """What opens a model, in any process; as ``open_model`` takes it."""

    models: tuple[Path, ...]
    decision: Path | None = None
    engine: str = "auto"
    device: str = "auto"
    spread: bool = False

    def open(self) -> PredictionModel:
        """Open the model."""
        return open_model(
            self.models,
            decision=self.decision,
            engine="auto" if self.engine == RAY else self.engine,
            device=self.device,
            spread=self.spread,
        )


@dataclass(frozen=True)
class Shard:
    """Some of the images, by their number among the shards."""

    number: int
    images: InputImages


def rows_on_ray(
    found: InputImages, request: ModelRequest, journal: Journal | None = None
) -> Iterator[pl.DataFrame]:
    """Predict images on a cluster, and yield the rows shard by shard, in the images' order.

    The shards are those of the journal, which keeps each as soon as it is finished; both engines go
    on with what the other has left.

    Args:
        found: the images.
        request: the model; every machine must see its files.
        journal: what is done already, and what keeps the shards.
    """
    firsts = range(0, len(found), ROWS)
    shards = (
        Shard(number, replace(found, images=found.images[first : first + ROWS], closers=()))
        for number, first in enumerate(firsts)
        if journal is None or not journal.has(number)
    )
    count = sum(journal is None or not journal.has(number) for number in range(len(firsts)))
    work = partial(predict_shard, request=request)
    done: dict[int, pl.DataFrame] = {}
    if count:
        for shard, rows in on_ray(work, shards, count, request.device):
            if journal is None:
                done[shard.number] = rows
            else:
                journal.write(shard.number, rows)
    for number in range(len(firsts)):
        yield done[number] if journal is None else journal.part(number)


def predict_shard(shard: Shard, *, request: ModelRequest) -> pl.DataFrame:
    """Predict the images of a shard, in a process of the cluster."""
    return rows_of(shard, _opened(request))


def rows_of(shard: Shard, model: PredictionModel) -> pl.DataFrame:
    """Return the undecided rows of the images of a shard."""
    model = model.marked(shard.images.synthetic)
    return pl.concat(predict_rows(shard.images, model.predictor, model.name))


@lru_cache(maxsize=1)
def _opened(request: ModelRequest) -> PredictionModel:
    """Open a model; the last one stays open, so that each process loads it once."""
    return request.open()
