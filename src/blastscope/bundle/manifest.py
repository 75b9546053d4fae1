"""``bundle.json``: what a model is, how cells are prepared for it and what it is worth."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, Strict, ValidationError, model_validator

from blastscope.bundle.contents import MANIFEST, Contents, digest_of
from blastscope.data.names import printable
from blastscope.data.store import StoreSettings
from blastscope.errors import BlastscopeError
from blastscope.evaluation.bootstrap import SamplingUnits
from blastscope.io.json_objects import first_error, read_as
from blastscope.recipes.schema import Recipe
from blastscope.recipes.section import Section, Share, Text
from blastscope.stain.statistics import statistics_from

FORMAT, VERSION = "blastscope-bundle", 2
_MOST_MEMBERS = 99

Sentence = Annotated[str, Field(max_length=4000), AfterValidator(printable)]
Print = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|xxh3_128:[0-9a-f]{32})$")]
LICENCE = r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,63}$"
"""The form of a licence's identifier in SPDX, for instance ``Apache-2.0``."""
Licence = Annotated[str, Field(pattern=LICENCE)]
Count = Annotated[int, Field(ge=0)]
Numbers = Annotated[tuple[float, ...], Strict(False)]


def _sampling(content: dict[str, Any]) -> dict[str, Any]:
    try:
        read_as(SamplingUnits, content)
    except ValueError as error:
        raise ValueError(f"it does not say what was drawn ({error})") from error
    return content


Sampling = Annotated[dict[str, Any], AfterValidator(_sampling)]
"""What was drawn for confidence intervals; ``evaluation.bootstrap.SamplingUnits`` reads it."""


class File(Section):
    """A file beside the manifest: its digest and length."""

    sha256: Print
    bytes: Count


class StainReference(Section):
    """What each cell's stain is normalized to (``stain.statistics``)."""

    method: Literal["reinhard", "macenko", "gcti"]
    on_black: bool
    mean: Numbers = ()
    deviation: Numbers = ()
    light: Numbers = ()
    vectors: Numbers = ()
    strongest: Numbers = ()


class Preparation(Section):
    """How an image becomes the pixels that the network sees."""

    size: int = Field(ge=16, le=1024)
    scale: Literal["crop", "keep"]
    clahe: bool
    contour: Literal["union", "first"]
    field: int = Field(ge=1, le=8192)
    threshold: int = Field(ge=0, le=255)
    stain: StainReference | None = None

    def settings(self) -> StoreSettings:
        """Return them as settings of a store.

        Raises:
            BlastscopeError: if the reference of the stain is damaged.
        """
        plain = self.model_dump(exclude={"stain"})
        if self.stain is None:
            return StoreSettings(**plain)
        try:
            return StoreSettings(**plain, stain=statistics_from(self.stain.model_dump()))
        except ValueError as error:
            raise BlastscopeError(
                f"The bundle's reference for colour normalization cannot be read ({error}): make "
                "the bundle again."
            ) from error


class PixelNormalization(Section):
    """What the network does first: each channel, 0..255, minus the mean, divided by the deviation.

    If ``colour_normalization`` is ``per-cell``, it comes before; ``space`` says if optical
    densities take the place of both numbers (``models.normalization``).
    """

    mean: Numbers = Field(min_length=3, max_length=3)
    deviation: Numbers = Field(min_length=3, max_length=3)
    channels: Literal["RGB", "BGR"]
    colour_normalization: Literal["none", "per-cell"] = "none"
    space: Literal["optical-density"] | None = None


class TrainingCells(Section):
    """The cells of its training; names of subjects do not travel.

    ``cells`` are counted by split part and class, ``subjects`` of the training part by class.
    """

    store: Print
    split: Print
    protocol: Text
    cells: dict[str, dict[str, Count]]
    subjects: dict[str, Count]


class Machine(Section):
    """The code and the machine that trained a network, as ``io.provenance`` records them.

    Neither the command nor a path travels: they may name subjects.
    """

    commit: str | None = Field(None, max_length=64)
    dirty: bool | None = None
    python: Text
    platform: Text
    processor: str = Field("", max_length=200)
    device: Text
    threads: Count


class InitialWeights(Section):
    """The pretrained weights that training began with."""

    file: Text
    sha256: Print
    licence: Text


class MetricEntry(Section):
    """A metric and its 95 % confidence interval, if it has one."""

    value: float
    low: float | None = None
    high: float | None = None


class SubgroupEntry(Section):
    """Metrics of a part of an evaluation's cells, as ``evaluation.shortcuts.Subgroup`` has them."""

    by: Literal["size", "focus", "frame"]
    name: Text
    cells_all: Count
    cells_hem: Count
    auc: Share | None = None
    recall_all: Share | None = None
    recall_hem: Share | None = None


class EvaluationEntry(Section):
    """One evaluation.

    ``own``: whether these very weights were evaluated, or others of the same recipe, as in a
    cross-validation.
    """

    own: bool
    part: Text
    protocol: Text
    cells: Count
    metrics: dict[str, MetricEntry]
    sampling: Sampling
    subgroups: Annotated[tuple[SubgroupEntry, ...], Strict(False)] = Field((), max_length=20)


class SizeStepEntry(Section):
    """The metrics at one factor, as ``robustness.counterfactual_size.SizeStep`` explains them."""

    factor: float = Field(gt=0)
    auc: Share | None = None
    normal_called_all: Share | None = None
    all_called_all: Share | None = None
    all_factor: float | None = Field(default=None, gt=1)
    auc_resampled: Share | None = None


class SizeCurve(Section):
    """The curve of counterfactual size of a stress test, the smallest factor first.

    ``own``, ``part``, ``protocol``, ``cells`` and ``sampling`` are as in an evaluation.
    """

    own: bool
    part: Text
    protocol: Text
    cells: Count
    sampling: Sampling
    steps: Annotated[tuple[SizeStepEntry, ...], Strict(False)] = Field(min_length=2, max_length=99)

    @model_validator(mode="after")
    def _with_unchanged_cells(self) -> SizeCurve:
        factors = [one.factor for one in self.steps]
        if 1 not in factors or factors != sorted(set(factors)):
            raise ValueError("the factors of a curve of size ascend, and 1 is among them")
        return self


class Network(Section):
    """A single network."""

    recipe: Recipe
    checkpoint: Print
    precision: Literal["full", "half"]
    preparation: Preparation
    normalization: PixelNormalization
    classes: Annotated[tuple[Literal["hem"], Literal["all"]], Strict(False)] = ("hem", "all")
    data: TrainingCells
    initial_weights: InitialWeights | None = None
    versions: dict[str, str]
    machine: Machine | None = None


class MemberEntry(Section):
    """A member of an ensemble: its name there, and the digest of its manifest."""

    name: Text
    manifest: Print


class Ensemble(Section):
    """Several networks; ``ensemble.combination`` reads ``combination``."""

    checkpoint: Print
    members: Annotated[tuple[MemberEntry, ...], Strict(False)] = Field(
        min_length=1, max_length=_MOST_MEMBERS
    )
    combination: dict[str, Any]


class AdaptationStep(Section):
    """A step of an adaptation; ``adaptation.fitting.StepOutcome`` says what the keys mean."""

    step: Literal["calibration", "last-layer"]
    reason: Literal[
        "better", "replaced", "not-better", "few-cells", "few-subjects", "ensemble", "not-fitted"
    ]
    without: float
    log_loss: float | None = None


class Adaptation(Section):
    """What a bundle was adapted from, to which cells, and what that brought.

    ``cells`` and ``subjects`` are counted by class; ``unnamed`` cells name no subject. ``by`` says
    what was left out together, in how many ``folds``. ``threshold``: whether it was fitted too.
    ``before`` and ``after`` are metrics of cells left out.
    """

    bundle: Print
    name: Annotated[Text, AfterValidator(printable)]
    cells: dict[str, Count]
    subjects: dict[str, Count]
    unnamed: Count
    by: Literal["subject", "cell"]
    folds: Count
    threshold: bool
    steps: Annotated[tuple[AdaptationStep, ...], Strict(False)]
    before: dict[str, float]
    after: dict[str, float]


class Manifest(Section):
    """The whole of ``bundle.json``."""

    format: Literal["blastscope-bundle"] = "blastscope-bundle"
    version: Literal[2] = 2
    made_by: Text
    name: Annotated[Text, AfterValidator(printable)]
    title: Annotated[Text, AfterValidator(printable)]
    synthetic: bool
    intended_use: Sentence
    note: Sentence = ""
    licence: Licence | None = None
    files: dict[str, File]
    evaluations: Annotated[tuple[EvaluationEntry, ...], Strict(False)]
    network: Network | None = None
    ensemble: Ensemble | None = None
    adaptation: Adaptation | None = None
    size_curve: SizeCurve | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Manifest:
        if (self.network is None) == (self.ensemble is None):
            raise ValueError("a bundle holds a network or an ensemble, one of both")
        return self

    def as_json(self) -> bytes:
        """Write it as ``bundle.json``, with the digest of itself."""
        content = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        content["digest"] = _own_digest(content)
        return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def refuse_licence(name: str | None) -> None:
    """Refuse a licence that is not written as SPDX writes one.

    Raises:
        BlastscopeError: if it is not.
    """
    if name is not None and not re.fullmatch(LICENCE, name):
        raise BlastscopeError(
            f"'{name}' is not the identifier of a licence: give one of spdx.org/licenses, for "
            "instance Apache-2.0."
        )


def read_manifest(contents: Contents) -> tuple[Manifest, str]:
    """Read and check ``bundle.json``; return it with the digest of its file.

    Raises:
        BlastscopeError: if it is missing, damaged, changed by hand, of another version or not
            blastscope's.
    """
    raw = contents.read(MANIFEST)
    where = f"{contents}/{MANIFEST}"
    content = json_object(raw, where)
    if content.get("format") != FORMAT:
        raise BlastscopeError(
            f"{where} is not a {FORMAT} file: give a bundle that blastscope made."
        )
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise BlastscopeError(
            f"{contents} is a bundle of version {version}, and this blastscope reads version "
            f"{VERSION}: install a newer blastscope."
        )
    if isinstance(version, int) and version < VERSION:
        raise BlastscopeError(
            f"{contents} was made by an older blastscope: make it again with `blastscope bundle`."
        )
    if content.pop("digest", None) != _own_digest(content):
        raise BlastscopeError(
            f"{where} was changed after it was made: get the bundle again from its source."
        )
    try:
        return Manifest.model_validate(content), digest_of(raw)
    except ValidationError as error:
        raise BlastscopeError(
            f"{where} is not as blastscope writes it ({first_error(error)}): make the bundle again."
        ) from error


def json_object(raw: bytes, where: str) -> dict[str, Any]:
    """Read a JSON object from the content of a bundle's file.

    Raises:
        BlastscopeError: naming ``where``, if it is not one.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BlastscopeError(
            f"{where} is not valid JSON ({error}): copy it again, or make the bundle again."
        ) from error
    if not isinstance(content, dict):
        raise BlastscopeError(f"{where} is not a JSON object: make the bundle again.")
    return content


def _own_digest(content: dict[str, Any]) -> str:
    """Digest a manifest's content: against damage and edits by hand, not against forgery."""
    return digest_of(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
