"""What the REST API answers, as types: OpenAPI's description of each route is made of them.

The answers themselves are put together elsewhere and sent as they are; the tests hold each one to
its type. A field with a default is left out of the answers to whom it does not concern: what tells
of the model, of others' labels or of names is not sent to a blind reader.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Response
from pydantic import BaseModel, Field, WithJsonSchema

Label = Literal["A", "N", "U", "X"]
Call = Literal["A", "N"]
Role = Literal["viewer", "reader", "signer", "admin"]
JobState = Literal["waiting", "running", "done", "failed", "cancelled"]
CaseState = Literal["receiving", "preparing", "scoring", "review", "signed", "reopened"]


LEFT_OUT: Any = Field(default_factory=lambda: None)
"""The default of a field that some answers do not have."""


class Answer(BaseModel, extra="forbid"):
    """The base of all answers."""


_AS_IT_IS = Annotated[dict[str, Any], WithJsonSchema({})]
"""What a route returns is sent without a change: ``responses`` describes it."""


def gives(kind: Any, *statuses: int) -> dict[str, Any]:
    """Describe what a route answers, by a type of this package.

    Args:
        kind: the type of its JSON.
        statuses: those of its answers that are not refusals; 200 by default.
    """
    told = {status: {"model": kind} for status in statuses or (200,)}
    return {"response_model": _AS_IT_IS, "responses": told}


def sends(*media_types: str) -> dict[str, Any]:
    """Describe a route that answers with a file, by the media types that it may have."""
    content: dict[str, Any] = {one.partition(";")[0]: {} for one in media_types}
    return {"response_class": Response, "responses": {200: {"content": content}}}


class FaultJson(Answer):
    """Why a request was refused: a code that does not change, and a sentence."""

    code: str
    message: str
    fields: dict[str, str] = LEFT_OUT


class RefusedJson(Answer):
    """The answer to a request that was refused."""

    error: FaultJson


class UserJson(Answer):
    """Who is signed in."""

    id: int
    name: str
    role: Role
    has_password: bool


class MemberJson(Answer):
    """A person who works here; all but the first three fields are for an admin only."""

    id: int
    name: str
    role: Role
    active: bool = LEFT_OUT
    has_password: bool = LEFT_OUT
    locked_until: str | None = LEFT_OUT


class MembersJson(Answer):
    """The people who work here."""

    people: list[MemberJson]


class SignedInJson(Answer):
    """Who has signed in."""

    person: UserJson


class TokenJson(Answer):
    """A token of a script, without what it sends."""

    id: int
    name: str
    person: str | None
    created_at: str
    expires_at: str


class TokensJson(Answer):
    """Tokens that hold."""

    tokens: list[TokenJson]


class MadeTokenJson(Answer):
    """A token as scripts send it, which is told this once."""

    id: int
    token: str
    expires_at: str


class ModelJson(Answer):
    """A model that scores cases."""

    id: int
    name: str
    synthetic: bool
    digest: str
    threshold: float | None = LEFT_OUT
    calibrated: bool = LEFT_OUT
    networks: int = LEFT_OUT


class ListedModelJson(ModelJson):
    """A model, and whether new cases are scored with it."""

    default: bool


class ModelsJson(Answer):
    """The models of this workbench."""

    models: list[ListedModelJson]


class LimitsJson(Answer):
    """The most that a file, an image, a zip or a case may have."""

    file_bytes: int
    files: int
    pixels: int
    zip_bytes: int


class BootJson(Answer):
    """What every page begins with."""

    person: UserJson | None
    version: str
    workbench: str
    model: ModelJson
    disclaimer: str
    loopback: bool
    limits: LimitsJson


class WorkerJson(Answer):
    """The process that prepares and scores."""

    state: Literal["working", "idle", "stopped"]
    since: str


class JobJson(Answer):
    """Work for the worker."""

    id: int
    kind: str
    state: JobState
    done: int
    total: int | None
    reason: str | None
    case: int | None


class DiskJson(Answer):
    """Bytes of all images that are kept, thumbnails and zips too, and bytes that are free."""

    images: int
    free: int


class SystemJson(Answer):
    """Versions, disk, jobs and the worker."""

    version: str
    folder: str
    database: str
    reference: str | None
    disk: DiskJson
    jobs: list[JobJson]
    worker: WorkerJson
    versions: dict[str, str]


class AuditedActJson(Answer):
    """What somebody did to people, tokens, jobs or backups."""

    id: int
    at: str
    person: str | None
    what: str
    about: dict[str, Any]


class AuditJson(Answer):
    """The audit, in its order."""

    entries: list[AuditedActJson]


class CountsJson(Answer):
    """Cells of a reading by their labels and marks; those of the list may be the first three only.

    ``unusable`` counts cells whose image cannot be used: they are in no other count.
    """

    cells: int
    unlabelled: int
    unusable: int
    A: int = LEFT_OUT
    N: int = LEFT_OUT
    U: int = LEFT_OUT
    X: int = LEFT_OUT
    flagged: int = LEFT_OUT
    noted: int = LEFT_OUT
    doubles: int = LEFT_OUT
    referred: int = LEFT_OUT
    referred_left: int = LEFT_OUT
    ood: int = LEFT_OUT
    near: int = LEFT_OUT
    disagrees: int = LEFT_OUT
    disagreements: int = LEFT_OUT


class ProgressJson(Answer):
    """How far a case is before its review; images that cannot be used are in ``refused`` only.

    The time left is that of its job, after which others may follow; null while it is not known.
    ``stopped`` says why the case does not get on by itself, and what to do; null if it does.
    """

    sent: int
    refused: int
    duplicates: int
    cells: int
    prepared: int
    scored: int
    seconds_left: float | None
    job: JobJson | None
    stopped: str | None


class LineJson(Answer):
    """A share of blasts, or why there is none."""

    code: Literal["model", "mixed", "counted"]
    basis: Literal["model", "people+model", "all", "sample"]
    share: float | None
    low: float | None
    high: float | None
    of: int | None
    blasts: int | None
    against: Literal["below", "above", "open"] | None
    reason: str | None
    left: int | None
    share_if_unsure_are: list[float] | None
    uncounted: int | None
    doubles: int | None
    message: str | None


class ReadingJson(Answer):
    """A reading of a case: its own, whose number is 1, or a second one of a person."""

    id: int
    number: int
    person: str | None
    blind: bool
    scope: Literal["all", "random"]
    cells: int
    left: int
    state: Literal["open", "finished"]


class EnlargementJson(Answer):
    """That a random sample was made larger."""

    size: int
    before: int
    at: str


class SampleJson(Answer):
    """The random sample of a case; ``unusable`` of its images broke after it was drawn."""

    size: int
    left: int
    unusable: int
    enlarged: list[EnlargementJson]


class SenderJson(Answer):
    """How many files a person sent; null if an older version took them."""

    person: str | None
    files: int


class CaseJson(Answer):
    """A case as the person who asks may see it."""

    id: int
    identifier: str
    material: Literal["blood", "marrow"]
    sampling: Literal["all", "random", "selected"]
    target: int
    blind_first: bool
    content: Literal["cells", "fields"]
    um_per_pixel: float | None
    synthetic: bool
    created_at: str
    created_by: str
    note: str
    state: CaseState
    model: ModelJson
    counts: CountsJson
    progress: ProgressJson
    readers: list[str]
    senders: list[SenderJson]
    blind: bool
    share: LineJson | None
    rev: int
    sample: SampleJson | None
    readings: list[ReadingJson]


class CasesJson(Answer):
    """All cases, and the worker."""

    cases: list[CaseJson]
    worker: WorkerJson


class CautionJson(Answer):
    """What an identifier looks like."""

    code: Literal["looks-like-date", "looks-like-name"]
    message: str


class CheckedIdentifierJson(Answer):
    """Whether an identifier is taken, and what it looks like."""

    taken: bool
    warnings: list[CautionJson]


class ScoringJson(Answer):
    """The scores that a model gave a case."""

    id: int
    model: str
    at: str
    cells: int
    current: bool


class ScoringsJson(Answer):
    """All scorings of a case."""

    scorings: list[ScoringJson]


class FileJson(Answer):
    """A file that was sent for a case."""

    id: int
    name: str = LEFT_OUT
    bytes: int
    state: Literal["stored", "taken", "refused", "duplicate"]
    cell: int | None
    reason: str | None
    duplicate_of: int | None
    sent_by: str | None = LEFT_OUT
    sent_at: str = LEFT_OUT


class SentFileJson(Answer):
    """The file that was sent."""

    file: FileJson


class FilesJson(Answer):
    """The files of a case."""

    files: list[FileJson]


class RefusedCellJson(Answer):
    """A cell of a field that cannot be judged; its place is x, y, width and height in pixels."""

    place: list[int]
    reason: str


class SmearFieldJson(Answer):
    """A whole field of a smear; ``within`` is the relative uncertainty of its scale."""

    number: int
    file: str = LEFT_OUT
    width: int
    height: int
    um_per_pixel: float
    red_cells: int | None
    within: float | None
    contradicted_by: float | None
    image: str
    cells: list[int]
    refused: list[RefusedCellJson]


class FieldsJson(Answer):
    """The fields of a case, and how many of their cells are refused."""

    fields: list[SmearFieldJson]
    refused: int
