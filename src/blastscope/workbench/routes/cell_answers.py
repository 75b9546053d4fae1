"""What the REST API answers of cells and events, as types; see ``answers``."""

from __future__ import annotations

from typing import Any, Literal

from blastscope.workbench.routes.answers import (
    LEFT_OUT,
    Answer,
    Call,
    CountsJson,
    JobJson,
    JobState,
    Label,
)


class ColumnsJson(Answer):
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


class SheetJson(Answer):
    """A contact sheet, to one scale and with each cell fitted."""

    scale: str
    fit: str
    first: int
    count: int


class CellsJson(Answer):
    """The cells of a reading, and where their thumbnails lie; null where none is made yet."""

    rev: int
    count: int
    reading: int
    blind: bool
    tile: int
    per_row: int
    per_sheet: int
    columns: ColumnsJson
    sheets: list[SheetJson | None]
    counts: CountsJson
    undo: bool
    redo: bool
    version: int = LEFT_OUT
    threshold: float = LEFT_OUT
    disagreements: list[int] = LEFT_OUT


class FoundCellsJson(Answer):
    """The numbers of cells that pass filters, in an order."""

    cells: list[int]
    counts: CountsJson


class StandingJson(Answer):
    """What stands at a cell."""

    label: Label | None
    flag: bool
    note: str | None
    final: Label | None = LEFT_OUT


class StoredEventJson(Answer):
    """An event that is on disk; ``again`` if it was there before."""

    id: str
    seq: int
    again: bool
    target: str | None


class StoredEventsJson(Answer):
    """Events that are on disk, and what stands at the cells that changed, by their numbers."""

    rev: int
    events: list[StoredEventJson]
    changed: dict[str, StandingJson]
    counts: CountsJson
    undo: bool
    redo: bool


class HistoryEventJson(Answer):
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


class HistoryJson(Answer):
    """Events of a case in their order, and whether there are more."""

    events: list[HistoryEventJson]
    more: bool


class ImagesJson(Answer):
    """The addresses of a cell's images."""

    crop: str
    original: str


class PlaceJson(Answer):
    """Where a cell lies in its field: x, y, width and height in pixels."""

    number: int
    file: str = LEFT_OUT
    width: int
    height: int
    um_per_pixel: float
    place: list[int] | None
    quality: float | None
    image: str


class PreparationJson(Answer):
    """How a cell was cut out (x, y, width, height in pixels), and what the network is given."""

    box: list[int] | None
    size: int | None
    scale: str | None


class HeatmapJson(Answer):
    """What became of a cell's heatmap by one method."""

    method: str
    name: str
    state: Literal["none", "not-applicable"] | JobState
    reason: str | None
    job: int | None
    seconds: float
    address: str | None


class GivenLabelJson(Answer):
    """A label that a reading gives a cell."""

    person: str | None
    reading: int
    label: Label
    at: str | None


class NetworkPJson(Answer):
    """The probability of ALL that one network gives."""

    name: str
    p: float


class CellDetailJson(StandingJson):
    """A cell in detail."""

    n: int
    problem: str | None
    width: int | None
    height: int | None
    format: str | None
    images: ImagesJson
    history: list[HistoryEventJson]
    double_of: int | None
    field: PlaceJson | None
    blind: bool
    file: str = LEFT_OUT
    subject: str = LEFT_OUT
    bytes: int | None = LEFT_OUT
    flags: list[str] = LEFT_OUT
    threshold: float = LEFT_OUT
    calibrated: bool = LEFT_OUT
    preparation: PreparationJson = LEFT_OUT
    heatmaps: list[HeatmapJson] = LEFT_OUT
    labels: list[GivenLabelJson] = LEFT_OUT
    p: float | None = LEFT_OUT
    p_raw: float | None = LEFT_OUT
    called: Call | None = LEFT_OUT
    confidence: float | None = LEFT_OUT
    refer: bool | None = LEFT_OUT
    ood: bool | None = LEFT_OUT
    ood_score: float | None = LEFT_OUT
    networks: list[NetworkPJson] = LEFT_OUT


class MethodJson(Answer):
    """A method of heatmaps, and about how many seconds it takes."""

    code: str
    name: str
    seconds: float


class MethodsJson(Answer):
    """The methods of heatmaps, what to keep in mind, and why none can be computed here."""

    methods: list[MethodJson]
    warning: str
    not_applicable: str | None


class MadeHeatmapJson(Answer):
    """That a heatmap is there."""

    state: Literal["done"]


HeatmapJob = JobJson | MadeHeatmapJson
"""The job that computes a heatmap, or that it is there."""


class TileJson(Answer):
    """A thumbnail's sheet, and its column and row there."""

    sheet: str
    x: int
    y: int


class SimilarCellJson(Answer):
    """A cell that looks like another to the network, of the case or of the reference."""

    reference: bool
    case: int | None
    identifier: str
    n: int | None
    cell: str
    label: Label | None
    reader: str | None
    distance: float
    tile: TileJson | None
    image: str | None


class ReferenceJson(Answer):
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


class SimilarJson(Answer):
    """The cells that look most like one, and the nearest of each label."""

    state: Literal["ready", "waiting", "none"]
    nearest: list[SimilarCellJson]
    by_label: dict[Label, list[SimilarCellJson]]
    reference: ReferenceJson
