"""What the REST API answers of cells and events, as types; see ``answers``."""

from __future__ import annotations

from typing import Any, Literal

from blastscope.workbench.routes.answers import (
    LEFT_OUT,
    Answer,
    Call,
    Counts,
    Job,
    JobState,
    Label,
)


class Columns(Answer):
    """The cells of a reading as columns of equal length; ``other`` is null without a reading."""

    n: list[int]
    label: list[Label | None]
    flag: list[bool]
    note: list[str | None]
    random: list[int | None]
    in_sample: list[bool]
    scored: list[bool]
    prepared: list[bool]
    problem: list[str | None]
    double_of: list[int | None]
    p: list[float | None] = LEFT_OUT
    called: list[Call | None] = LEFT_OUT
    refer: list[bool] = LEFT_OUT
    ood: list[bool] = LEFT_OUT
    ood_score: list[float | None] = LEFT_OUT
    confidence: list[float | None] = LEFT_OUT
    near: list[bool] = LEFT_OUT
    needs: list[int] = LEFT_OUT
    subject: list[str] = LEFT_OUT
    file: list[str] = LEFT_OUT
    other: list[Label | None] | None = LEFT_OUT
    final: list[Label | None] = LEFT_OUT


class Sheet(Answer):
    """A contact sheet, to one scale and with each cell fitted."""

    scale: str
    fit: str
    first: int
    count: int


class Cells(Answer):
    """The cells of a reading, and where their thumbnails lie; null where none is made yet."""

    rev: int
    count: int
    reading: int
    blind: bool
    tile: int
    per_row: int
    per_sheet: int
    columns: Columns
    sheets: list[Sheet | None]
    counts: Counts
    undo: bool
    redo: bool
    version: int = LEFT_OUT
    threshold: float = LEFT_OUT
    disagreements: list[int] = LEFT_OUT


class FoundCells(Answer):
    """The numbers of cells that pass filters, in an order."""

    cells: list[int]
    counts: Counts


class Standing(Answer):
    """What stands at a cell."""

    label: Label | None
    flag: bool
    note: str | None
    final: Label | None = LEFT_OUT


class StoredEvent(Answer):
    """An event that is on disk; ``again`` if it was there before."""

    id: str
    seq: int
    again: bool
    target: str | None


class StoredEvents(Answer):
    """Events that are on disk, and what stands at the cells that changed, by their numbers."""

    rev: int
    events: list[StoredEvent]
    changed: dict[str, Standing]
    counts: Counts
    undo: bool
    redo: bool


class HistoryEvent(Answer):
    """Something that happened to a case."""

    seq: int
    id: str
    kind: str
    cells: list[int] | None
    value: Any
    target: str | None
    person: str | None
    reading: int | None
    at: str
    shown: dict[str, Any]
    blind: bool


class History(Answer):
    """Events of a case in their order, and whether there are more."""

    events: list[HistoryEvent]
    more: bool


class Images(Answer):
    """The addresses of a cell's images."""

    crop: str
    original: str


class Place(Answer):
    """Where a cell lies in its field: x, y, width and height in pixels."""

    number: int
    file: str = LEFT_OUT
    width: int
    height: int
    um_per_pixel: float
    place: list[int] | None
    quality: float | None
    image: str


class Preparation(Answer):
    """How a cell was cut out (x, y, width, height in pixels), and what the network is given."""

    box: list[int] | None
    size: int | None
    scale: str | None


class Heatmap(Answer):
    """What became of a cell's heatmap by one method."""

    method: str
    name: str
    state: Literal["none", "not-applicable"] | JobState
    reason: str | None
    job: int | None
    seconds: float
    address: str | None


class GivenLabel(Answer):
    """A label that a reading gives a cell."""

    person: str | None
    reading: int
    label: Label
    at: str | None


class NetworkP(Answer):
    """The probability of ALL that one network gives."""

    name: str
    p: float


class CellDetail(Standing):
    """A cell in detail."""

    n: int
    problem: str | None
    width: int | None
    height: int | None
    format: str | None
    images: Images
    history: list[HistoryEvent]
    double_of: int | None
    field: Place | None
    blind: bool
    file: str = LEFT_OUT
    subject: str = LEFT_OUT
    bytes: int | None = LEFT_OUT
    flags: list[str] = LEFT_OUT
    threshold: float = LEFT_OUT
    calibrated: bool = LEFT_OUT
    preparation: Preparation = LEFT_OUT
    heatmaps: list[Heatmap] = LEFT_OUT
    labels: list[GivenLabel] = LEFT_OUT
    p: float | None = LEFT_OUT
    p_raw: float | None = LEFT_OUT
    called: Call | None = LEFT_OUT
    confidence: float | None = LEFT_OUT
    refer: bool | None = LEFT_OUT
    ood: bool | None = LEFT_OUT
    ood_score: float | None = LEFT_OUT
    networks: list[NetworkP] = LEFT_OUT


class Method(Answer):
    """A method of heatmaps, and about how many seconds it takes."""

    code: str
    name: str
    seconds: float


class Methods(Answer):
    """The methods of heatmaps, what to keep in mind, and why none can be computed here."""

    methods: list[Method]
    warning: str
    not_applicable: str | None


class MadeHeatmap(Answer):
    """That a heatmap is there."""

    state: Literal["done"]


HeatmapJob = Job | MadeHeatmap
"""The job that computes a heatmap, or that it is there."""


class Tile(Answer):
    """A thumbnail's sheet, and its column and row there."""

    sheet: str
    x: int
    y: int


class SimilarCell(Answer):
    """A cell that looks like another to the network, of the case or of the reference."""

    reference: bool
    case: int | None
    identifier: str
    n: int | None
    cell: str
    label: Label | None
    reader: str | None
    distance: float
    tile: Tile | None
    image: str | None


class Reference(Answer):
    """The reference beside a case; all but its state is left out if there is none."""

    state: Literal["none", "other-model", "ready"] | JobState
    name: str = LEFT_OUT
    synthetic: bool = LEFT_OUT
    scale: str = LEFT_OUT
    cells: dict[Call, int] = LEFT_OUT
    job: int | None = LEFT_OUT
    done: int | None = LEFT_OUT
    total: int | None = LEFT_OUT
    reason: str | None = LEFT_OUT


class Similar(Answer):
    """The cells that look most like one, and the nearest of each label."""

    state: Literal["ready", "waiting", "none"]
    nearest: list[SimilarCell]
    by_label: dict[Label, list[SimilarCell]]
    reference: Reference
