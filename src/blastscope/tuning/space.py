"""The space of a search: which settings of a recipe may take which values.

A space is a YAML file. Its keys are those of ``--set``, its values say what may be tried::

    training.rate: {type: float, low: 1.0e-4, high: 1.0e-2, log: true}
    training.batch: {type: categorical, choices: [16, 32, 64]}

A search checks it before its first trial: a key must be one of a recipe's, and the recipe must be
valid at each end of each key, also together with each end of each other key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from blastscope.errors import BlastscopeError
from blastscope.recipes.library import changed_recipe
from blastscope.recipes.reading import read_yaml
from blastscope.recipes.schema import Recipe
from blastscope.recipes.section import Section

if TYPE_CHECKING:
    from optuna.trial import Trial

Settings = dict[str, Any]
"""Values by the dotted keys of a recipe."""

_SEARCHED = ("input", "model", "training", "prediction")
"""The sections whose keys decide the outcome of an experiment."""


class FloatRange(Section):
    """Numbers from ``low`` to ``high``; ``log`` draws their logarithm, ``step`` leaves a grid."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> FloatRange:
        _refuse_odd_range(self.low, self.high, self.log, self.step)
        return self

    @property
    def ends(self) -> list[Any]:
        """The lowest and the highest value."""
        return [self.low, self.high]

    def suggest(self, trial: Trial, key: str) -> Any:
        """Return the trial's value."""
        return trial.suggest_float(key, self.low, self.high, log=self.log, step=self.step)


class IntRange(Section):
    """Whole numbers from ``low`` to ``high``, in steps of ``step``, or by their logarithm."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> IntRange:
        _refuse_odd_range(self.low, self.high, self.log, self.step)
        return self

    @property
    def ends(self) -> list[Any]:
        """The lowest and the highest value."""
        return [self.low, self.high]

    def suggest(self, trial: Trial, key: str) -> Any:
        """Return the trial's value."""
        return trial.suggest_int(key, self.low, self.high, log=self.log, step=self.step or 1)


class Choices(Section):
    """Any of ``choices``: words, numbers, null, lists or mappings."""

    type: Literal["categorical"]
    choices: list[Any] = Field(min_length=2, max_length=100)

    @model_validator(mode="after")
    def _fits(self) -> Choices:
        if len({json.dumps(choice) for choice in self.choices}) < len(self.choices):
            raise ValueError("choices has a value twice")
        return self

    @property
    def ends(self) -> list[Any]:
        """Every choice."""
        return self.choices

    def suggest(self, trial: Trial, key: str) -> Any:
        """Return the trial's value; Optuna keeps it as JSON, because it may be a list."""
        texts = [json.dumps(choice) for choice in self.choices]
        return json.loads(trial.suggest_categorical(key, texts))


def _refuse_odd_range(low: float, high: float, log: bool, step: float | None) -> None:
    if not low < high:
        raise ValueError("low must be below high")
    if log and low <= 0:
        raise ValueError("log needs a low above 0")
    if step is None:
        return
    if log:
        raise ValueError("log and step do not go together: leave one of them out")
    steps = (high - low) / step
    if abs(steps - round(steps)) > 1e-6 * max(steps, 1.0):
        raise ValueError("high minus low must be a multiple of step")


Range = Annotated[FloatRange | IntRange | Choices, Field(discriminator="type")]
_FILE = TypeAdapter(Annotated[dict[str, Range], Field(min_length=1, max_length=50)])


@dataclass(frozen=True)
class Space:
    """What a search may try, by the dotted keys of a recipe."""

    ranges: Mapping[str, FloatRange | IntRange | Choices]

    def as_json(self) -> dict[str, Any]:
        """The space as its file has it; equal spaces give equal values."""
        return {
            key: self.ranges[key].model_dump(mode="json", exclude_none=True)
            for key in sorted(self.ranges)
        }

    def suggest(self, trial: Trial) -> Settings:
        """Return the settings of a trial, in the order of the keys' names."""
        return {key: self.ranges[key].suggest(trial, key) for key in sorted(self.ranges)}

    def decoded(self, kept: Mapping[str, Any]) -> Settings:
        """Return the settings of values as Optuna keeps them."""
        return {
            key: json.loads(kept[key]) if isinstance(self.ranges[key], Choices) else kept[key]
            for key in sorted(self.ranges)
            if key in kept
        }

    def corners(self) -> Iterator[tuple[Settings, Settings]]:
        """Give the settings to check, with those among them that are not at their first end.

        Every end of every key occurs with every end of every other key.
        """
        first = {key: one.ends[0] for key, one in self.ranges.items()}
        yield first, {}
        if len(self.ranges) == 1:
            ((key, one),) = self.ranges.items()
            yield from (({key: end}, {key: end}) for end in one.ends)
        for pair in combinations(self.ranges, 2):
            for ends in product(*(self.ranges[key].ends for key in pair)):
                changed = dict(zip(pair, ends, strict=True))
                yield first | changed, changed


_PACKAGED = Path(str(files("blastscope.recipes"))) / "spaces"


def space_names() -> list[str]:
    """Return the names of the packaged spaces."""
    return [f"spaces/{path.stem}" for path in sorted(_PACKAGED.glob("*.yaml"))]


def read_space(name_or_path: str) -> Space:
    """Read a packaged space by its name, or a user's by the path of its ``.yaml``.

    Raises:
        BlastscopeError: one sentence, if it cannot be read or a key or a value is not allowed.
    """
    names = space_names()
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
    elif name_or_path in names:
        path = _PACKAGED / f"{name_or_path.removeprefix('spaces/')}.yaml"
    else:
        raise BlastscopeError(
            f"The space {name_or_path} does not exist: give the path of a .yaml file, or "
            f"{', '.join(names)}."
        )
    return parse_space(read_yaml(path, "a space"), name_or_path)


def parse_space(content: Mapping[str, Any], label: str = "The space") -> Space:
    """Check a space that is in memory; ``label`` is what messages call it.

    Raises:
        BlastscopeError: one sentence, if a key or a value is not allowed.
    """
    try:
        return Space(_FILE.validate_python(dict(content)))
    except ValidationError as error:
        raise BlastscopeError(f"{label}: {_one_sentence(error)}.") from error


def with_settings(recipe: Recipe, settings: Settings) -> Recipe:
    """Return a recipe with other settings, checked.

    Raises:
        BlastscopeError: if a key or a value is not allowed.
    """
    return changed_recipe(recipe, _overrides(settings))


def _overrides(settings: Settings) -> list[str]:
    """Write settings as the command line does."""
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


def check_space(space: Space, recipe: Recipe, label: str = "The space") -> list[Recipe]:
    """Refuse a space with a key or an end that the recipe does not allow.

    Returns:
        The recipes at the checked corners, for checks against the data.

    Raises:
        BlastscopeError: naming the key and the value.
    """
    for key in space.ranges:
        section = key.split(".")[0]
        if section not in _SEARCHED or "." not in key:
            raise BlastscopeError(
                f"{label}: {key} is not a setting to search: give one of {', '.join(_SEARCHED)}, "
                "such as training.rate."
            )
        if key == "training.seed":
            raise BlastscopeError(
                f"{label}: training.seed is not a setting to search: a seed that is chosen by its "
                "score is chance. Leave it out."
            )
    nested = next(
        ((a, b) for a in space.ranges for b in space.ranges if b.startswith(f"{a}.")), None
    )
    if nested is not None:
        raise BlastscopeError(f"{label}: {nested[1]} is a part of {nested[0]}: leave one out.")
    found = []
    for corner, changed in space.corners():
        try:
            found.append(with_settings(recipe, corner))
        except BlastscopeError as error:
            named = f"{recipe.name} with {', '.join(_overrides(corner))}: "
            told = " and ".join(_overrides(changed or corner))
            reason = str(error).removeprefix(named)
            raise BlastscopeError(f"{label}: with {told}, {reason}") from error
    return found


def _one_sentence(error: ValidationError) -> str:
    """Write the first error of a space; an unknown key comes before a missing one."""
    details = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    detail = details[0]
    path = [str(part) for part in detail["loc"] if part not in ("float", "int", "categorical")]
    key = " ".join(path) or "the file"
    match detail["type"]:
        case "extra_forbidden":
            return f"{key} is not a key; allowed: type, low, high, log, step or type, choices"
        case "missing":
            return f"{key} is missing"
        case "model_attributes_type":
            return f"{key} must be a mapping, such as {{type: float, low: 0.1, high: 0.5}}"
        case "union_tag_not_found" | "union_tag_invalid":
            return f"{key} needs a type: float, int or categorical"
        case "value_error":
            return f"in {key}, {detail['ctx']['error']}"
        case "too_short" if not path:
            return "the file names no key: add one, such as training.rate"
        case _:
            return f"{key}: {detail['msg'][0].lower()}{detail['msg'][1:]}"
