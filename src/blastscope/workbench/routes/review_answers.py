"""What the REST API answers of shares, signatures and exports, as types; see ``answers``."""

from __future__ import annotations

from typing import Literal

from blastscope.workbench.routes.answers import Answer, Label, LineJson, ModelJson


class ExportFileJson(Answer):
    """A file of an export."""

    name: str
    address: str


class ExportJson(Answer):
    """What an export holds, what a data set leaves out and why, and the files.

    If ``why_not`` is a sentence, the files are refused with it: they would be partial.
    """

    complete: bool
    why_not: str | None
    files_waiting: int
    unprepared: int
    unscored: int
    without: str
    cells: int
    with_label: int
    in_dataset: int
    left_out: dict[str, int]
    doubles: int
    neither: int
    files: list[ExportFileJson]


class ConfusionTableJson(Answer):
    """Counts of pairs of labels; the rows are the first reading's or people's."""

    rows: list[Label]
    counts: list[list[int]]


class AgreementJson(Answer):
    """How far two sets of labels agree: Cohen's kappa with its 95 % interval.

    ``reason`` says why kappa is missing; ``no-interval``: only its interval is missing.
    """

    table: ConfusionTableJson
    cells: int
    same: int
    kappa: float | None
    low: float | None
    high: float | None
    reason: Literal["few-cells", "one-class", "no-interval"] | None


class IntraObserverJson(AgreementJson):
    """How far a person agrees with themselves, on cells that they labelled in both readings."""

    person: str | None
    late: int


class ReadersAgreementJson(AgreementJson):
    """How a finished second reading agrees with the case's own, where two people labelled.

    ``disagreements`` and ``open`` are of all cells, also those that one person labelled twice.
    """

    reading: int
    number: int
    late: int
    intra_observer: IntraObserverJson | None
    disagreements: list[int]
    open: list[int]


class SubjectSharesJson(Answer):
    """The shares of one subject's cells."""

    subject: str
    cells: int
    lines: list[LineJson]


class HistogramJson(Answer):
    """Counts of the probability of ALL between edges."""

    edges: list[float]
    counts: list[int]
    threshold: float


class PlotsJson(Answer):
    """What the plots show."""

    p: HistogramJson


class SharesJson(Answer):
    """Shares of blasts, what is in none of them, and the agreement with the model."""

    lines: list[LineJson]
    subjects: list[SubjectSharesJson]
    limits: list[float]
    unsure: int
    no_cell: int
    counted_already: int
    doubles: int
    neither: int
    open_disagreements: int
    agreement: AgreementJson
    plots: PlotsJson
    blind_labels: int
    seen_labels: int


class WhyNotJson(Answer):
    """Why a case cannot be signed."""

    code: Literal["not-ready", "no-labels", "open-reading", "signed"]
    message: str


class ReopenedJson(Answer):
    """That a signed case was opened again."""

    person: str | None
    at: str
    reason: str


class SignatureJson(Answer):
    """A signature, with what was counted when it was given."""

    id: int
    person: str | None
    at: str
    rev: int
    model: str
    digest: str
    scoring: int | None
    counts: dict[str, int]
    lines: list[LineJson]
    subjects: dict[str, list[LineJson]]
    without: str
    comment: str
    reopened: ReopenedJson | None


class ToSignJson(Answer):
    """What a person must see before they sign."""

    rev: int
    can_sign: bool
    why_not: list[WhyNotJson]
    unlabelled_referred: list[int]
    unsure: list[int]
    open_disagreements: list[int]
    unlabelled: int
    neither: int
    files_waiting: int
    unprepared: int
    unscored: int
    without: str
    model: ModelJson
    password_needed: bool
    signatures: list[SignatureJson]
