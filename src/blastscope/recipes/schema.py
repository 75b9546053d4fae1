"""The keys and values of a recipe. Every unknown key and every unknown name is an error.

The authors of the paper lost an experiment to an optimiser name, ``rms``, that their helper
silently ignored. So types are strict, and :mod:`blastscope.recipes.messages` turns a refusal into
one sentence.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Strict, Tag, field_validator, model_validator

from blastscope.recipes.section import Loss, Section, Share, Text
from blastscope.recipes.strengths import Cutout, Strength, Strengths, Zoom
from blastscope.recipes.training import Focal, FocalLoss, HeterogeneityTerm, Steps, Training
from blastscope.registry import BUILT_IN

SCRATCH_TRUNKS = BUILT_IN["network"]
"""The networks of :mod:`blastscope.models.scratch` and :mod:`blastscope.models.sdct`, which have no
ImageNet weights."""
AVERAGED = "averaged"
"""The ``model.weights`` of a mean of finished runs."""


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
    the backbone; ``od`` is optical density, minus the decimal logarithm of [0, 1], where black,
    which is not glass but what was cut away, has none. ``colour_normalization``: ``per-cell`` gives
    each channel of every cell the same mean and standard deviation first, in the network
    (:mod:`blastscope.models.normalization`); ``reinhard``, ``macenko`` and ``gcti`` give every cell
    the stain of a reference, in ``blastscope prepare`` (:mod:`blastscope.stain`), because they need
    a cell's own pixels and steps that no ONNX graph has.
    """

    size: int = Field(ge=16, le=1024)
    scale: Literal["crop", "keep"] = "crop"
    clahe: bool = False
    normalization: Literal["unit", "minus_one_one", "imagenet", "caffe", "model", "od"]
    colour_normalization: Literal["none", "per-cell", "reinhard", "macenko", "gcti"] = "none"

    @property
    def stain_method(self) -> Literal["none", "reinhard", "macenko", "gcti"]:
        """The colour normalization of ``blastscope prepare``; the network does ``per-cell``."""
        return "none" if self.colour_normalization == "per-cell" else self.colour_normalization


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


class Auxiliary(Section):
    """A second task, learned beside the first and left out of predictions.

    ``box``: the weight in the loss of the mean absolute error of the cell's bounding box, by a head
    of its own on the backbone's map (Marzahl et al. 2019). With it the class has a head of the same
    kind before ``model.head``'s own layers.
    """

    box: float = Field(gt=0, le=100)


class Svm(Section):
    """An RBF support vector machine, which decides cells that the network is not sure of.

    It is fitted after training, on the training cells that the network classifies correctly; its
    input is the backbone's map, averaged over channels. ``c`` and ``gamma`` are its own;
    ``below``: it decides where the network's probability of the likelier class is at most this.
    """

    c: float = Field(gt=0, le=1e6)
    gamma: float = Field(gt=0, le=1e6)
    below: float = Field(gt=0.5, lt=1)


def _step_kind(step: Any) -> str | None:
    if isinstance(step, str):
        return "<batchnorm>" if step == "batchnorm" else "<pool>"
    if isinstance(step, Dropout | Dense):
        return f"<{type(step).__name__.lower()}>"
    if isinstance(step, dict):
        return next((f"<{key}>" for key in ("dropout", "dense") if key in step), None)
    return None


def _trainable_kind(value: Any) -> str:
    return "<from>" if isinstance(value, From | dict) else "<word>"


# The tags are in angle brackets so that messages can leave them out of a key's path.
Step = Annotated[
    Annotated[Literal["flatten", "gap", "avgmax", "bilinear"], Tag("<pool>")]
    | Annotated[Literal["batchnorm"], Tag("<batchnorm>")]
    | Annotated[Dropout, Tag("<dropout>")]
    | Annotated[Dense, Tag("<dense>")],
    Discriminator(
        _step_kind,
        custom_error_type="choice",
        custom_error_message="choose flatten, gap, avgmax, bilinear, batchnorm, "
        "{dropout: share} or {dense: neurons, activation: relu}",
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

    ``weights: averaged``: the mean of the weights of finished runs, and no training.
    ``size_term``: what the size of a cell adds to that logit.
    """

    backbone: Text
    weights: Literal["none", "imagenet", "averaged"]
    cut: Text | None = None
    head: Annotated[tuple[Step, ...], Strict(False)]
    trainable: Trainable = "all"
    batchnorm: Literal["follow", "frozen", "thawed"] = "follow"
    size_term: SizeTermSettings | None = None
    auxiliary: Auxiliary | None = None
    svm: Svm | None = None

    @field_validator("head")
    @classmethod
    def _head_begins_with_one_pooling(cls, head: tuple[Step, ...]) -> tuple[Step, ...]:
        words = [step for step in head if isinstance(step, str) and step != "batchnorm"]
        if not head or [head[0]] != words:
            raise ValueError(
                "a head begins with flatten or gap (or another pooling) and has it only once"
            )
        return head

    @model_validator(mode="after")
    def _scratch_has_no_weights(self) -> Model:
        if self.backbone in SCRATCH_TRUNKS and self.weights == "imagenet":
            raise ValueError(f"{self.backbone} has no ImageNet weights: write weights: none")
        return self


class Prediction(Section):
    """How a cell's probability is computed.

    ``views: dihedral`` is test-time augmentation: the mean of the logits over the eight dihedral
    views of the cell; ``rotations8`` is that over the cell rotated by multiples of 45 degrees.
    """

    views: Literal["one", "dihedral", "rotations8"] = "one"


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
        if self.training.teachers_see == "stored":  # likewise
            del found["training"]["teachers_see"]
        for section, keys in _LATER_KEYS.items():
            for key in keys:
                if found[section][key] is None:
                    del found[section][key]
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the experiment but for its seed: those that a repeat shares."""
        return self.with_seed(0).experiment

    @property
    def begins_with_weights(self) -> bool:
        """Whether a training begins with published weights, and not with those of a run."""
        return self.model.weights == "imagenet" and self.starts_from is None

    def with_seed(self, seed: int) -> Recipe:
        """Return the recipe with another seed."""
        training = self.training.model_copy(update={"seed": seed})
        return self.model_copy(update={"training": training})

    @model_validator(mode="after")
    def _settings_fit_each_other(self) -> Recipe:
        model, training = self.model, self.training
        if (model.weights == AVERAGED) != (training.epochs == 0):
            raise ValueError(
                f"model.weights: {AVERAGED} takes the mean of finished runs and trains no epoch: "
                "write training.epochs: 0 with it, and only with it"
            )
        if model.size_term is not None and self.input.scale != "keep":
            raise ValueError(
                "model.size_term needs cells at one scale: write scale: keep, or leave it out"
            )
        if model.backbone in SCRATCH_TRUNKS and self.input.normalization == "model":
            raise ValueError(
                f"{model.backbone} has no mean and deviation of its own: "
                "choose another input.normalization"
            )
        if model.backbone == "sdct" and self.input.normalization != "od":
            raise ValueError("sdct begins with optical densities: write input.normalization: od")
        if self.input.normalization == "od" and model.weights == "imagenet":
            raise ValueError(
                "pretrained weights do not know optical densities: write model.weights: none, or "
                "choose another input.normalization"
            )
        if model.auxiliary is not None:
            if self.input.scale == "crop":
                raise ValueError(
                    "model.auxiliary has nothing to find if cells are cropped to their boxes: "
                    "write input.scale: keep"
                )
            if training.mixup is not None:
                raise ValueError("training.mixup mixes cells, which then have no box: leave it out")
        if model.trainable == "head" and set(training.rates or {}) - {"head"}:
            raise ValueError("training.rates names layers, and only the head is trained")
        return self


_LATER_KEYS = {
    "model": ("auxiliary", "svm", "size_term"),
    "training": (
        "rates", "momentum", "weight_decay", "label_smoothing", "mixup", "heterogeneity",
    ),
}  # fmt: skip
"""Keys that recipes did not have at first: without them an experiment is the one that it was."""

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
    "auxiliary": Auxiliary,
    "svm": Svm,
    "<steps>": Steps,
    "<focal>": FocalLoss,
    "focal": Focal,
    "heterogeneity": HeterogeneityTerm,
    "<strengths>": Strengths,
    "zoom": Zoom,
    "cutout": Cutout,
    **dict.fromkeys(("rotate", "shift", "shear", "blur", "light", "stain"), Strength),
}
"""The section that the last part of an error's path stands for."""
