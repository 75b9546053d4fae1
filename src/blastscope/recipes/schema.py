"""The keys and values of a recipe. Every unknown key and every unknown name is an error.

The authors of the paper lost an experiment to an optimiser name, ``rms``, that their helper
silently ignored. So types are strict, and :mod:`blastscope.recipes.messages` turns a refusal into
one sentence.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    field_validator,
    model_validator,
)

from blastscope.registry import BUILT_IN

SCRATCH_TRUNKS = BUILT_IN["network"]
"""The networks of :mod:`blastscope.models.scratch`, which have no ImageNet weights."""

Share = Annotated[float, Field(ge=0, le=1)]
Loss = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class Section(BaseModel):
    """A section of a recipe: strict about types, closed to unknown keys, immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_by_name=False
    )


class Paper(Section):
    """The place in the paper that describes the experiment.

    ``printed`` is false if the paper's text has only the stage that the experiment belongs to and
    the metrics are from the authors' notebooks alone.
    """

    section: Text
    name: Text
    printed: bool = True


class Input(Section):
    """The image that the network sees: how it is cut, sized and normalized.

    ``size`` is its side in pixels; ``scale`` and ``clahe`` are those of ``blastscope prepare``.
    ``normalization`` of 0..255: ``unit`` is [0, 1]; ``minus_one_one`` is [-1, 1]; ``imagenet`` is
    [0, 1] minus the ImageNet mean, divided by its standard deviation; ``caffe`` is BGR minus the
    ImageNet mean in 0..255; ``model`` takes the mean and standard deviation that timm records for
    the backbone. ``colour_normalization``: ``per-cell`` gives each channel of every cell the same
    mean and standard deviation first (:mod:`blastscope.models.normalization`).
    """

    size: int = Field(ge=16, le=1024)
    scale: Literal["crop", "keep"] = "crop"
    clahe: bool = False
    normalization: Literal["unit", "minus_one_one", "imagenet", "caffe", "model"]
    colour_normalization: Literal["none", "per-cell"] = "none"


class Dropout(Section):
    """Set a share of the values to zero, in training only."""

    dropout: float = Field(ge=0, lt=1)


class Dense(Section):
    """A fully connected layer.

    Its activation is never implied: the paper's text omits that the dense layers of its best VGG16
    and ResNet-50 have none.
    """

    dense: int = Field(ge=1, le=65536)
    activation: Literal["relu", "none"]


class From(Section):
    """Train the named layer of the backbone and every layer after it."""

    start: Text = Field(alias="from")


def _step_kind(step: Any) -> str | None:
    if isinstance(step, str):
        return "<pool>"
    if isinstance(step, Dropout | Dense):
        return f"<{type(step).__name__.lower()}>"
    if isinstance(step, dict):
        return next((f"<{key}>" for key in ("dropout", "dense") if key in step), None)
    return None


def _trainable_kind(value: Any) -> str:
    return "<from>" if isinstance(value, From | dict) else "<word>"


# The tags are in angle brackets so that messages can leave them out of a key's path.
Step = Annotated[
    Annotated[Literal["flatten", "gap"], Tag("<pool>")]
    | Annotated[Dropout, Tag("<dropout>")]
    | Annotated[Dense, Tag("<dense>")],
    Discriminator(
        _step_kind,
        custom_error_type="choice",
        custom_error_message="choose flatten, gap, {dropout: share} or "
        "{dense: neurons, activation: relu}",
    ),
]
Trainable = Annotated[
    Annotated[Literal["all", "head"], Tag("<word>")] | Annotated[From, Tag("<from>")],
    Discriminator(_trainable_kind),
]


class SizeTermSettings(Section):
    """Log-odds of the size of a cell, added to the logit in prediction, never in training.

    They are ``slope`` times the natural logarithm of the longer side divided by ``centre``; sizes
    are shares of the image's side, and those beyond ``smallest`` and ``largest`` count as those
    (:mod:`blastscope.models.size_term`).
    """

    slope: float = Field(ge=-100, le=100)
    centre: float = Field(gt=0, le=1)
    smallest: float = Field(gt=0, le=1)
    largest: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> SizeTermSettings:
        if not self.smallest < self.largest:
            raise ValueError("smallest must be below largest")
        return self


class Model(Section):
    """The network: a backbone, whole or cut at a layer, and a head that ends in one logit.

    ``size_term``: what the size of a cell adds to that logit.
    """

    backbone: Text
    weights: Literal["none", "imagenet"]
    cut: Text | None = None
    head: Annotated[tuple[Step, ...], Strict(False)]
    trainable: Trainable = "all"
    batchnorm: Literal["follow", "frozen", "thawed"] = "follow"
    size_term: SizeTermSettings | None = None

    @field_validator("head")
    @classmethod
    def _head_begins_with_one_pooling(cls, head: tuple[Step, ...]) -> tuple[Step, ...]:
        words = [step for step in head if isinstance(step, str)]
        if not head or not isinstance(head[0], str) or len(words) != 1:
            raise ValueError("a head begins with flatten or gap and has it only once")
        return head

    @model_validator(mode="after")
    def _scratch_has_no_weights(self) -> Model:
        if self.backbone in SCRATCH_TRUNKS and self.weights != "none":
            raise ValueError(f"{self.backbone} has no ImageNet weights: write weights: none")
        return self


class Training(Section):
    """How the network is trained.

    ``loss``: ``bce``, binary cross-entropy, or a registered one. ``patience`` counts epochs without
    a lower validation loss. ``balance``: ``paper`` undersamples the larger class and adds flipped
    or rotated copies of the smaller one (paper, section 1); ``undersample`` does only the first;
    ``weights`` weighs the loss by class. ``layer_decay`` multiplies the learning rate once for each
    layer between a weight and the head. ``schedule``: ``constant``, or ``cosine``: the learning
    rate rises over the first twentieth of all steps and falls to 0 at the last. ``augmentation``:
    ``dihedral`` flips and rotates each cell by quarter turns, drawn again in every epoch;
    ``rescaled`` also gives each cell another size, .74 to 1.35 times its own; ``strong`` rotates by
    any angle and also changes scale, stain, brightness and sharpness; ``strong-rescaled`` is both
    (:mod:`blastscope.training.augmentation`); any other name is a registered one.
    ``distillation``: the share of a training cell's target that is its teachers' probability
    (:mod:`blastscope.training.distillation`); the rest is its label. ``average_from``: the first
    epoch whose weights, after every step, go into an average that takes the place of the best
    epoch's weights (:mod:`blastscope.training.weight_averaging`); 0 for no average. All epochs are
    run then.
    """

    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"]
    loss: Text = "bce"
    rate: float = Field(gt=0, le=10)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    schedule: Literal["constant", "cosine"] = "constant"
    batch: int = Field(default=32, ge=1, le=4096)
    epochs: int = Field(ge=1, le=10000)
    patience: int = Field(default=5, ge=1)
    balance: Literal["paper", "undersample", "weights", "none"]
    augmentation: Text = "none"
    distillation: Share = 0.0
    average_from: int = Field(default=0, ge=0)
    seed: int = Field(default=24, ge=0, lt=2**32)
    precision: Literal["auto", "32", "bf16"] = "auto"
    deterministic: bool = False

    @model_validator(mode="after")
    def _averages_an_epoch(self) -> Training:
        if self.average_from > self.epochs:
            raise ValueError(
                f"training.average_from is epoch {self.average_from}, and there are {self.epochs}: "
                "choose an earlier one"
            )
        return self

    @field_validator("precision", mode="before")
    @classmethod
    def _precision_as_word(cls, precision: Any) -> Any:
        return "32" if type(precision) is int and precision == 32 else precision


class Prediction(Section):
    """How a cell's probability is computed.

    ``views: dihedral`` is test-time augmentation: the mean of the logits over the eight dihedral
    views of the cell.
    """

    views: Literal["one", "dihedral"] = "one"


class Expected(Section):
    """Published metrics of the experiment: shown beside a result, never instead of one."""

    train_loss: Loss | None = None
    train_accuracy: Share | None = None
    val_loss: Loss | None = None
    val_accuracy: Share | None = None
    weighted_f1: Share | None = None
    precision_hem: Share | None = None
    recall_hem: Share | None = None
    precision_all: Share | None = None
    recall_all: Share | None = None
    auc: Share | None = None
    note: str | None = None


class Recipe(Section):
    """A whole, resolved recipe.

    Attributes:
        name: ``paper/cnn-exp2`` for a packaged recipe, the file's stem for a user's own.
        starts_from: the recipe of the run whose weights this one starts from.
        overrides: settings changed on the command line. If there are any, the experiment is not the
            one that ``expected`` was published for.
    """

    name: Text
    title: Text
    overrides: Annotated[tuple[str, ...], Strict(False)] = ()
    paper: Paper | None = None
    starts_from: Text | None = None
    input: Input
    model: Model
    training: Training
    prediction: Prediction = Prediction()
    expected: Expected | None = None

    @property
    def experiment(self) -> dict[str, Any]:
        """The settings that decide the outcome: all but texts and published metrics."""
        found = self.model_dump(mode="json", exclude={"title", "overrides", "paper", "expected"})
        for key in ("distillation", "average_from"):  # which earlier recipes did not have
            if not found["training"][key]:
                del found["training"][key]
        if self.model.size_term is None:
            del found["model"]["size_term"]
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the experiment but for its seed: those that a repeat shares."""
        return self.with_seed(0).experiment

    def with_seed(self, seed: int) -> Recipe:
        """Return the recipe with another seed."""
        training = self.training.model_copy(update={"seed": seed})
        return self.model_copy(update={"training": training})

    @model_validator(mode="after")
    def _size_needs_a_scale(self) -> Recipe:
        if self.model.size_term is not None and self.input.scale != "keep":
            raise ValueError(
                "model.size_term needs cells at one scale: write scale: keep, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _scratch_has_no_mean(self) -> Recipe:
        if self.model.backbone in SCRATCH_TRUNKS and self.input.normalization == "model":
            raise ValueError(
                f"{self.model.backbone} has no mean and deviation of its own: "
                "choose another input.normalization"
            )
        return self


SECTIONS: dict[str, type[Section]] = {
    "paper": Paper,
    "input": Input,
    "model": Model,
    "training": Training,
    "prediction": Prediction,
    "expected": Expected,
    "<dropout>": Dropout,
    "<dense>": Dense,
    "<from>": From,
    "size_term": SizeTermSettings,
}
"""The section that the last part of an error's path stands for."""
