"""Predictions of any number of cells, in shards: a folder of Parquet files, in flat memory.

Input paths are listed one after another and predicted in shards of a fixed number of cells. Each
shard is a prediction table that is written when it is done; the same call goes on after the last.
"""

from __future__ import annotations

import glob
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from functools import partial
from pathlib import Path

import polars as pl

from blastscope.cluster import RAY, on_ray
from blastscope.data.images import SUFFIXES
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json
from blastscope.io.predictions import SHARDS, shard_name, write_predictions
from blastscope.io.remote import url_of
from blastscope.io.tables import METADATA_KEY, read_metadata
from blastscope.io.workfolder import FolderKind, WorkFolder
from blastscope.prediction.decisions import decide
from blastscope.prediction.images import InputImage, InputImages, unique_cells
from blastscope.prediction.inputs import STANDARD_INPUT, Prefix, input_name, list_inputs
from blastscope.prediction.models import PredictionModel
from blastscope.prediction.predict import about, identity
from blastscope.prediction.shard_rows import ModelRequest, Shard, predict_shard, rows_of
from blastscope.prediction.table import Altered, altered

FORMAT = "blastscope-prediction-shards/2"
_KIND = FolderKind(SHARDS, FORMAT)
_COUNTS = "counts"


@dataclass(frozen=True)
class ShardCounts:
    """How many cells a folder of shards has, and what was said of them.

    Attributes:
        cells: all images, also those that could not be used.
        unusable: images that could not be used.
        out_of_distribution: cells that are unlike the training cells.
        called_all, called_hem: cells by their call; 0 if the model does not decide.
        referred: cells that are referred to the expert.
        several, transparent: images that were not used as they are, as in ``Altered``.
    """

    cells: int = 0
    unusable: int = 0
    out_of_distribution: int = 0
    called_all: int = 0
    called_hem: int = 0
    referred: int = 0
    several: int = 0
    transparent: int = 0

    @property
    def altered(self) -> Altered:
        """The images that were not used as they are."""
        return Altered(self.several, self.transparent)

    def __add__(self, other: ShardCounts) -> ShardCounts:
        names = [one.name for one in fields(self)]
        return ShardCounts(*(getattr(self, name) + getattr(other, name) for name in names))


@dataclass(frozen=True)
class Sharded:
    """A folder of prediction shards.

    Attributes:
        path: the folder.
        shards: how many there are.
        counts: of all cells.
        resumed: how many shards an earlier call had written.
        notes: what the user should know of how the images were found.
        synthetic: whether some cells, or what taught the model, are synthetic.
    """

    path: Path
    shards: int
    counts: ShardCounts
    resumed: int
    notes: tuple[str, ...]
    synthetic: bool


def predict_shards(
    inputs: Sequence[str | Path],
    request: ModelRequest,
    out: Path,
    cells: int,
    *,
    subject_from: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Sharded:
    """Predict images in shards of ``cells`` and write each into the folder ``out``.

    Args:
        inputs: as ``list_inputs`` takes them; each is listed when its turn comes. A cell's name is
            unique within its input and within its shard.
        request: the model, and the engine; with ``ray`` each shard is a task of a cluster.
        out: the folder; one of the same inputs and model is gone on with.
        cells: of a shard.
        subject_from: as ``list_inputs`` takes it.
        on_progress: called with the cells done, and the same number, for there may be more.

    Raises:
        BlastscopeError: if the model or an input cannot be opened, an input is given twice, not one
            image can be used, or the folder is another's, its inputs have changed, or it cannot be
            written.
    """
    if cells < 1:
        raise BlastscopeError(f"A shard of {cells} cells is not possible: give 1 or more.")
    _refuse_twice(inputs)
    model = request.open()  # its files may have changed since this process last opened them
    known = {
        "model": identity(InputImages(()), model)["model"],
        "decision": model.decision.digest if model.decision else None,
        "inputs": [str(one) for one in inputs],
        "cells": cells,
    }
    work = WorkFolder(out, _KIND, {**known, "subject_from": subject_from})
    listing = _Listing(inputs, cells, subject_from)
    with work.locked():
        work.open_or_resume()
        folder = _Folder(work)
        for shard, rows in _predicted(folder.missing(listing.shards()), model, request):
            folder.write(shard, rows, model)
            if on_progress:
                on_progress(folder.counts.cells, folder.counts.cells)
        folder.finish()
    notes, synthetic = tuple(dict.fromkeys(listing.notes)), listing.synthetic or model.synthetic
    return Sharded(out, len(folder.done), folder.counts, folder.resumed, notes, synthetic)


def _refuse_twice(inputs: Sequence[str | Path]) -> None:
    """Refuse an input that is given twice or lies in another: its cells would count twice."""
    places: dict[Path, str | Path] = {}
    for one in inputs:
        place = Path(one)
        if url_of(one) is None:
            inner = "" if place.name == ".." else place.name
            place = Path(os.path.realpath(place.parent if inner else place), inner)
        if place in places:
            raise BlastscopeError(f"{one} is given twice: give each input once.")
        places[place] = one
    for place, one in places.items():
        around = next((places[folder] for folder in place.parents if folder in places), None)
        if around is not None and (place.suffix.lower() in SUFFIXES or place.is_dir()):
            raise BlastscopeError(f"{one} lies in {around}, which is given too: give one of them.")


def _predicted(
    shards: Iterator[Shard], model: PredictionModel, request: ModelRequest
) -> Iterator[tuple[Shard, pl.DataFrame]]:
    """Yield shards with their undecided rows, on a cluster in any order."""
    if request.engine == RAY:
        work = partial(predict_shard, request=request)
        yield from on_ray(work, shards, sys.maxsize, request.device)
    else:
        for shard in shards:
            yield shard, rows_of(shard, model)


class _Folder:
    """The shards that are written, and the counts of their cells."""

    def __init__(self, work: WorkFolder) -> None:
        self.counts = ShardCounts()
        self.resumed = 0
        self.done: set[int] = set()
        self._digests: dict[int, str] = {}
        self._work = work
        self._finished = read_json(work.marker).get("finished") is True

    def missing(self, shards: Iterator[Shard]) -> Iterator[Shard]:
        """Yield the shards that are not written; those that are must be of the same images."""
        for shard in shards:
            name = shard_name(shard.number)
            digest = shard.images.digest()  # before they are read: they may change from then on
            if not self._work.has(name):
                self._digests[shard.number] = digest
                yield shard
                continue
            self.counts += _counts_of(self._work.path / name, digest)
            self.resumed += 1
            self.done.add(shard.number)

    def write(self, shard: Shard, rows: pl.DataFrame, model: PredictionModel) -> None:
        """Decide the rows of a shard, and write them."""
        marked = model.marked(shard.images.synthetic)
        frame = decide(rows, marked.decision)
        found = _counted(frame)
        frame, renamed = _named_apart(frame, shard)
        digest = self._digests.pop(shard.number)
        note = {_COUNTS: asdict(found), "images": digest, "renamed": renamed}
        if self._finished:  # readers must not take what is there for all if this call is killed
            self._work.record({"finished": False})
            self._finished = False
        with self._work.add(shard_name(shard.number)) as beside:
            write_predictions(frame, beside, {**about(shard.images, marked), **note})
        self.counts += found
        self.done.add(shard.number)

    def finish(self) -> None:
        """Check what there is, and mark it as whole."""
        out, counts = self._work.path, self.counts
        if counts.cells == counts.unusable:
            raise BlastscopeError(
                f"None of {counts.cells:,} images can be used: the shards in {out} say why."
            )
        extra = [path for path in out.glob("shard-*.parquet") if _number(path) not in self.done]
        if extra:
            raise BlastscopeError(
                f"{out} has {extra[0].name}, and its inputs have fewer cells now: choose another "
                "folder."
            )
        if not self._finished:  # else the digests are those of what was made
            told = {"shards": len(self.done), _COUNTS: asdict(counts), "finished": True}
            self._work.record(told, [shard_name(number) for number in sorted(self.done)])


def _named_apart(frame: pl.DataFrame, shard: Shard) -> tuple[pl.DataFrame, dict[str, str]]:
    """Give each cell of a shard a name of its own; return also the old name by each new one.

    A reader of the whole folder goes back to the old ones, so that names do not follow from where
    shards are cut.
    """
    names = unique_cells(shard.images.images)
    both = list(zip(names, shard.images, strict=True))
    renamed = {name: image.cell for name, image in both if name != image.cell}
    return frame.with_columns(cell=pl.Series(names)), renamed


class _Listing:
    """Lists inputs one after another, and cuts their images into shards."""

    def __init__(self, inputs: Sequence[str | Path], cells: int, subject_from: str | None) -> None:
        self.inputs, self.cells, self.subject_from = inputs, cells, subject_from
        self.notes: list[str] = []
        self.synthetic = False
        self._names = Counter(input_name(Path(one)) for one in inputs)

    def shards(self) -> Iterator[Shard]:
        """Yield the shards; the last one may be smaller."""
        waiting: list[InputImage] = []
        sources: list[InputImages] = []
        number = 0
        for one in self.inputs:
            found = list_inputs([one], self.subject_from, self._prefix(one))
            self.notes += found.notes
            self.synthetic |= found.synthetic
            sources.append(replace(found, images=()))
            for image in found:
                waiting.append(image)
                if len(waiting) == self.cells:
                    yield _shard(number, waiting, sources)
                    number, waiting, sources = number + 1, [], sources[-1:]
        if waiting:
            yield _shard(number, waiting, sources)

    def _prefix(self, one: str | Path) -> Prefix:
        """Choose what the files of an input begin with, so that those of two differ."""
        if len(self.inputs) == 1:
            return "needed"
        many = str(one) == STANDARD_INPUT or glob.has_magic(str(one))
        return "path" if many or self._names[input_name(Path(one))] > 1 else "name"


def _shard(number: int, images: list[InputImage], sources: list[InputImages]) -> Shard:
    closers = tuple(close for one in sources for close in one.closers)
    archives = tuple(path for one in sources for path in one.archives)
    synthetic = any(one.synthetic for one in sources)
    keepers = tuple(keeper for one in sources for keeper in one.keepers)
    return Shard(number, InputImages(tuple(images), (), synthetic, closers, archives, keepers))


def _counted(frame: pl.DataFrame) -> ShardCounts:
    def true(name: str) -> int:
        return int(frame[name].fill_null(False).sum()) if name in frame.columns else 0

    called = frame["called"].fill_null("") if "called" in frame.columns else pl.Series([""])
    return ShardCounts(
        frame.height,
        frame["p_all"].null_count(),
        true("out_of_distribution"),
        int((called == "all").sum()),
        int((called == "hem").sum()),
        true("refer"),
        *astuple(altered(frame)),
    )


def _counts_of(path: Path, digest: str) -> ShardCounts:
    """Read the counts of a shard that an earlier call wrote of images with this digest."""
    note = json.loads(read_metadata(path).get(METADATA_KEY, "{}"))
    if note.get("images") != digest:
        raise BlastscopeError(
            f"{path} is of other images than its inputs have now: choose another folder."
        )
    return ShardCounts(**note[_COUNTS])


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("shard-")
    return int(digits) if digits.isdigit() else -1
