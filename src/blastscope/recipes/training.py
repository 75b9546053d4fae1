"""The keys of a recipe's ``training`` section."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from blastscope.recipes.section import Rate, Section, Share, Text
from blastscope.recipes.strengths import Strengths

Epoch = Annotated[int, Field(ge=2, le=10000)]


class Steps(Section):
    """From each epoch (the first is 1) the rates are ``factor`` times those at the beginning."""

    steps: dict[Epoch, Rate] = Field(min_length=1)

    @field_validator("steps", mode="before")
    @classmethod
    def _epochs_are_numbers(cls, steps: Any) -> Any:
        if not isinstance(steps, dict):
            return steps
        return {_number(key): value for key, value in steps.items()}


def _number(key: Any) -> Any:
    """Read an epoch; JSON has no other keys than texts."""
    return int(key) if isinstance(key, str) and key.isdecimal() else key


class Focal(Section):
    """Focal loss (Lin et al., ICCV 2017): ``alpha`` weighs ALL and 1 - alpha normal cells."""

    alpha: float = Field(gt=0, lt=1)
    gamma: float = Field(ge=0, le=10)


class FocalLoss(Section):
    """The focal loss as a value of ``loss``."""

    focal: Focal


class HeterogeneityTerm(Section):
    """Pull the subjects of a class together (after Goswami et al., arXiv 2003.03295).

    ``weight`` times the mean over classes of the squared distance between the subjects' mean
    embeddings in a batch is added to the loss. Every batch has as many cells of each of
    ``subjects`` subjects of each class.
    """

    weight: float = Field(gt=0, le=1000)
    subjects: int = Field(ge=2, le=64)


def _kind_of(tag: str) -> Any:
    return lambda value: tag if isinstance(value, Section | dict) else "<word>"


Schedule = Annotated[
    Annotated[Literal["constant", "cosine", "one_cycle"], Tag("<word>")]
    | Annotated[Steps, Tag("<steps>")],
    Discriminator(_kind_of("<steps>")),
]
LossName = Annotated[
    Annotated[Text, Tag("<word>")] | Annotated[FocalLoss, Tag("<focal>")],
    Discriminator(_kind_of("<focal>")),
]
Augmentation = Annotated[
    Annotated[Text, Tag("<word>")] | Annotated[Strengths, Tag("<strengths>")],
    Discriminator(_kind_of("<strengths>")),
]


class Training(Section):
    """How the network is trained.

    ``loss``: ``bce``, binary cross-entropy, ``{focal: {alpha, gamma}}`` or a registered one;
    ``label_smoothing`` draws the targets of ``bce`` towards one half, by half of it at each end;
    ``mixup``: alpha of the beta distribution by which pairs of training cells are mixed.
    ``patience`` counts epochs without a lower validation loss. ``balance``: ``paper`` undersamples
    the larger class and adds flipped or rotated copies of the smaller one (paper, section 1);
    ``undersample`` does only the first; ``oversample`` repeats cells of the smaller class;
    ``weights`` weighs the loss by class. ``layer_decay`` multiplies the learning rate once for each
    layer between a weight and the head. ``rates``: other learning rates, from the named layer on to
    the next that is named; ``head`` is the head, ``stem`` the first layer. ``momentum`` is that of
    ``sgd``; ``weight_decay`` is the optimizer's own. ``schedule``: ``constant``; ``cosine``: the
    learning rate rises over the first twentieth of all steps and falls to 0 at the last;
    ``one_cycle``: PyTorch's (Smith and Topin 2018); or ``{steps: {epoch: factor}}``.
    ``augmentation``: ``dihedral`` flips and rotates each cell by quarter turns, drawn again in
    every epoch; ``rescaled`` also gives each cell another size, .74 to 1.35 times its own;
    ``strong`` rotates by any angle and also changes scale, stain, brightness and sharpness;
    ``strong-rescaled`` is both (:mod:`blastscope.training.augmentation`); ``rand-stain`` and
    ``stain-exchange`` give each cell other colours, and their ``-rescaled`` another size as well
    (:mod:`blastscope.training.stain_augmentation`); any other name is a registered one, and a
    mapping gives strengths
    (:class:`blastscope.recipes.strengths.Strengths`). ``distillation``: the share of a training
    cell's target that is its teachers' probability (:mod:`blastscope.training.distillation`); the
    rest is its label. ``teachers_see``: ``stored``, the cells as they are, so that a prediction
    table can teach, or ``augmented``, each picture that the student sees, with its augmentation and
    mixup. ``average_from``: the first epoch whose weights, after every step, go into an
    average that takes the place of the best epoch's weights
    (:mod:`blastscope.training.weight_averaging`); 0 for no average. All epochs are run then.
    """

    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"]
    loss: LossName = "bce"
    rate: float = Field(gt=0, le=10)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    rates: dict[Text, Rate] | None = Field(default=None, min_length=1)
    momentum: float | None = Field(default=None, ge=0, lt=1)
    weight_decay: float | None = Field(default=None, ge=0, le=1)
    schedule: Schedule = "constant"
    batch: int = Field(default=32, ge=1, le=4096)
    epochs: int = Field(ge=0, le=10000)
    patience: int = Field(default=5, ge=1)
    balance: Literal["paper", "undersample", "oversample", "weights", "none"]
    augmentation: Augmentation = "none"
    label_smoothing: float | None = Field(default=None, gt=0, lt=1)
    mixup: float | None = Field(default=None, gt=0, le=10)
    heterogeneity: HeterogeneityTerm | None = None
    distillation: Share = 0.0
    teachers_see: Literal["stored", "augmented"] = "stored"
    average_from: int = Field(default=0, ge=0)
    seed: int = Field(default=24, ge=0, lt=2**32)
    precision: Literal["auto", "32", "bf16"] = "auto"
    deterministic: bool = False

    @field_validator("precision", mode="before")
    @classmethod
    def _precision_as_word(cls, precision: Any) -> Any:
        return "32" if type(precision) is int and precision == 32 else precision

    @model_validator(mode="after")
    def _keys_fit_each_other(self) -> Training:
        reason = self._misfit()
        if reason:
            raise ValueError(reason)
        return self

    def _misfit(self) -> str:
        if self.average_from > self.epochs:
            return (
                f"average_from is epoch {self.average_from}, and there are {self.epochs}: choose "
                "an earlier one"
            )
        if self.momentum is not None and self.optimizer != "sgd":
            return f"momentum is a setting of sgd and not of {self.optimizer}: leave it out"
        if self.rates is not None and self.layer_decay < 1:
            return "rates and layer_decay both set rates by layer: leave one of them out"
        if self.label_smoothing is not None:
            if self.loss != "bce":
                return "label_smoothing changes the targets of bce: choose that loss"
            if self.distillation:
                return "label_smoothing and distillation both soften targets: leave one of them out"
        if self.teachers_see == "augmented" and not self.distillation:
            return "teachers_see has no effect without distillation: set that as well"
        if self.heterogeneity is not None:
            if self.balance != "none":
                return "heterogeneity draws as many cells of each class: write balance: none"
            if self.mixup is not None:
                return (
                    "mixup mixes cells of several subjects, and heterogeneity tells subjects apart"
                )
            if self.batch < 4 * self.heterogeneity.subjects:
                least = 4 * self.heterogeneity.subjects
                return (
                    f"heterogeneity needs two cells of each subject: set batch to {least} or more"
                )
        return ""

    @property
    def dihedral(self) -> bool:
        """Whether an epoch draws a dihedral view for each cell."""
        own = self.augmentation
        return own.dihedral if isinstance(own, Strengths) else own == "dihedral"

    @property
    def keeps_views(self) -> bool:
        """Whether every epoch takes a cell's pixels as they are, in one of the dihedral views.

        Only then can the features of a frozen part be computed once. Teachers that judge each
        picture need its pixels.
        """
        own = self.augmentation
        named = own in ("none", "dihedral") if isinstance(own, str) else not own.changes_pixels
        return named and self.mixup is None and self.teachers_see == "stored"
