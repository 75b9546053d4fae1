"""The tables of the workbench.

What people did is append-only: ``review_event``, ``signature``, ``reopening`` and ``audit`` refuse
UPDATE and DELETE by triggers (``store.triggers``). A change of a table here needs a migration in
``store/migrations/versions``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of keys, so that migrations can speak of them on every database."""
APPEND_ONLY = ("review_event", "signature", "reopening", "audit")
"""Tables whose rows are never changed nor deleted."""


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class Moment(TypeDecorator[datetime]):
    """A time in UTC; SQLite keeps no time zone, so it is put back on reading."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Write it in UTC, without its time zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read it as UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


DOUBLE_OF = "double_of"
"""In ``Cell.about``: the number of the cell of another field that it may be."""


class Base(DeclarativeBase):
    """The base of all tables."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {datetime: Moment(), dict[str, Any]: JSON(), list[Any]: JSON()}  # noqa: RUF012


class User(Base):
    """Somebody who works here; ``local`` is whoever opened the launch address."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    role: Mapped[str] = mapped_column(String(10))
    password: Mapped[str | None] = mapped_column(String(200))  # a hash by argon2
    active: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class LoginSession(Base):
    """A browser that is signed in; the cookie's value is kept as its SHA-256 only."""

    __tablename__ = "login_session"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]


class ApiToken(Base):
    """A token of a script; its value is shown once and kept as its SHA-256 only."""

    __tablename__ = "api_token"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class StoredModel(Base):
    """A model that has scored, or may score, cases; ``digest`` tells models apart."""

    __tablename__ = "model"
    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(80), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    paths: Mapped[list[Any]]  # absolute, as ``open_model`` takes them
    synthetic: Mapped[bool] = mapped_column(Boolean)
    facts: Mapped[dict[str, Any]]  # threshold, calibrated, names of networks, known subjects
    created_at: Mapped[datetime] = mapped_column(default=now)


class Case(Base):
    """The cells of one specimen, and where its review stands."""

    __tablename__ = "review_case"
    id: Mapped[int] = mapped_column(primary_key=True)
    identifier: Mapped[str] = mapped_column(String(80), unique=True)
    material: Mapped[str] = mapped_column(String(10))
    sampling: Mapped[str] = mapped_column(String(10))
    blind_first: Mapped[bool] = mapped_column(Boolean, default=False)
    content: Mapped[str] = mapped_column(String(6), default="cells")  # of its files; or fields
    um_per_pixel: Mapped[float | None] = mapped_column(Float)  # of its fields, if it was told
    synthetic: Mapped[bool] = mapped_column(Boolean, default=False)
    note: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(12), default="receiving")
    seed: Mapped[int] = mapped_column(Integer)  # of the random order of its cells
    sample_size: Mapped[int | None] = mapped_column(Integer)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    scoring_id: Mapped[int | None] = mapped_column(Integer)  # the one in use
    # Goes up with each change that is not a review event, so that caches and pages notice it.
    version: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[int] = mapped_column(ForeignKey("person.id"))


class Upload(Base):
    """A file that was sent to a case, whatever became of it."""

    __tablename__ = "upload"
    __table_args__ = (UniqueConstraint("case_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"), index=True)
    name: Mapped[str] = mapped_column(String(500))
    kind: Mapped[str] = mapped_column(String(8))  # image, zip
    sha: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(10))  # stored, taken, refused, duplicate
    reason: Mapped[str | None] = mapped_column(Text)
    cell: Mapped[int | None] = mapped_column(Integer)
    duplicate_of: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(default=now)
    # Of an image out of a zip: who sent the zip. None if an older version took the file.
    sent_by: Mapped[int | None] = mapped_column(ForeignKey("person.id"))


class Cell(Base):
    """A cell of a case; ``n`` is the number that people see."""

    __tablename__ = "cell"
    __table_args__ = (UniqueConstraint("case_id", "n"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"))
    n: Mapped[int] = mapped_column(Integer)
    sha: Mapped[str] = mapped_column(String(64), index=True)
    file: Mapped[str] = mapped_column(String(500))
    name: Mapped[str] = mapped_column(String(500))  # its name in tables, unique in the case
    subject: Mapped[str] = mapped_column(String(80))
    prepared: Mapped[bool] = mapped_column(Boolean, default=False)
    problem: Mapped[str | None] = mapped_column(Text)
    random: Mapped[int | None] = mapped_column(Integer)  # its rank in the random order
    about: Mapped[dict[str, Any]] = mapped_column(default=dict)  # box, flags, double_of, ...
    field: Mapped[int | None] = mapped_column(Integer)  # the number of the field that it lies in
    place: Mapped[list[Any] | None]  # its box in that field: x, y, width, height
    quality: Mapped[float | None] = mapped_column(Float)  # of its outline


class SmearField(Base):
    """A whole field of a smear whose cells were found; ``number`` counts in the case."""

    __tablename__ = "smear_field"
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    upload_id: Mapped[int] = mapped_column(ForeignKey("upload.id"))
    file: Mapped[str] = mapped_column(String(500))
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    um_per_pixel: Mapped[float] = mapped_column(Float)
    red_cells: Mapped[int | None] = mapped_column(Integer)  # that measured the scale
    by_red_cells: Mapped[float | None] = mapped_column(Float)  # the scale they show, if it was told
    image: Mapped[str] = mapped_column(String(64))  # a small picture of it
    # Cells that were not cut out: their boxes and the reasons.
    refused: Mapped[list[Any]]


class Sheet(Base):
    """A contact sheet: up to 100 thumbnails in one WebP file, named by its content."""

    __tablename__ = "sheet"
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(5), primary_key=True)  # scale, fit
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    sha: Mapped[str] = mapped_column(String(64))
    count: Mapped[int] = mapped_column(Integer)


class Scoring(Base):
    """A model's look at all cells of a case; a later one leaves it as it is."""

    __tablename__ = "scoring"
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"), index=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    # The rows of ``LoadedModel.subjects``, once all cells are scored, without possible doubles.
    subjects: Mapped[list[Any] | None]


class Score(Base):
    """What a model said of a cell, as ``blastscope predict`` writes it."""

    __tablename__ = "score"
    scoring_id: Mapped[int] = mapped_column(ForeignKey("scoring.id"), primary_key=True)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"), primary_key=True)
    p_all: Mapped[float | None] = mapped_column(Float)
    p_raw: Mapped[float | None] = mapped_column(Float)
    ood_score: Mapped[float | None] = mapped_column(Float)
    ood: Mapped[bool | None] = mapped_column(Boolean)
    called: Mapped[str | None] = mapped_column(String(3))
    confidence: Mapped[float | None] = mapped_column(Float)
    refer: Mapped[bool | None] = mapped_column(Boolean)
    flags: Mapped[str | None] = mapped_column(Text)
    networks: Mapped[list[Any]]  # the probability of each


class Reading(Base):
    """A look of people at a case's cells; number 1 is the case's own, others are second ones."""

    __tablename__ = "reading"
    __table_args__ = (UniqueConstraint("case_id", "number"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"))
    number: Mapped[int] = mapped_column(Integer)
    person_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    blind: Mapped[bool] = mapped_column(Boolean, default=False)
    scope: Mapped[str] = mapped_column(String(6), default="all")
    size: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]


class Sighting(Base):
    """That a person was shown the model's output or others' labels in a case."""

    __tablename__ = "sighting"
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)


class ReviewEvent(Base):
    """Something that happened to a case, for ever.

    ``kind``: label, flag, note, undo, redo, adjudicate, reveal; and what the server itself
    records: created, files, scored, sample, signed, reopened, reading-started, reading-finished,
    exported.
    """

    __tablename__ = "review_event"
    __table_args__ = (Index(None, "case_id", "seq"), {"sqlite_autoincrement": True})
    seq: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(36), unique=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"))
    reading_id: Mapped[int | None] = mapped_column(ForeignKey("reading.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    kind: Mapped[str] = mapped_column(String(20))
    cells: Mapped[list[Any] | None]
    value: Mapped[dict[str, Any]]  # {"of": value}: a label, true, a text, null, or numbers
    target: Mapped[str | None] = mapped_column(String(36))  # the event that it undoes or redoes
    shown: Mapped[dict[str, Any]]
    blind: Mapped[bool] = mapped_column(Boolean)
    at: Mapped[datetime] = mapped_column(default=now)
    client_at: Mapped[str | None] = mapped_column(String(40))


class Signature(Base):
    """A signed case: what was counted, by which model, and by whom."""

    __tablename__ = "signature"
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("review_case.id"), index=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    at: Mapped[datetime] = mapped_column(default=now)
    rev: Mapped[int] = mapped_column(Integer)
    content: Mapped[dict[str, Any]]  # model, digest, counts, lines
    comment: Mapped[str] = mapped_column(Text)


class Reopening(Base):
    """That a signed case was opened again, and why."""

    __tablename__ = "reopening"
    signature_id: Mapped[int] = mapped_column(ForeignKey("signature.id"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    at: Mapped[datetime] = mapped_column(default=now)
    reason: Mapped[str] = mapped_column(Text)


class QueuedJob(Base):
    """Work for the worker; a lease says that somebody is at it and until when that holds."""

    __tablename__ = "job"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    case_id: Mapped[int | None] = mapped_column(ForeignKey("review_case.id"), index=True)
    about: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(10), default="waiting", index=True)
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int | None] = mapped_column(Integer)
    # When a worker that began it, or began it again, first told how far it is, and how far it was.
    started_at: Mapped[datetime | None]
    done_before: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    leased_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]


class Embedding(Base):
    """The features of a cell's image in a model, by which similar cells are found."""

    __tablename__ = "embedding"
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True)
    sha: Mapped[str] = mapped_column(String(64), primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)  # float32, of length 1


class Heatmap(Base):
    """A heatmap that was computed: the image of an overlay, by model, cell's image and method."""

    __tablename__ = "heatmap"
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True)
    sha: Mapped[str] = mapped_column(String(64), primary_key=True)
    method: Mapped[str] = mapped_column(String(20), primary_key=True)
    image: Mapped[str] = mapped_column(String(64))


class AuditEntry(Base):
    """Who did what to people, tokens, jobs and backups; reviews have their own events."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    person_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    what: Mapped[str] = mapped_column(String(40))
    about: Mapped[dict[str, Any]] = mapped_column(default=dict)
