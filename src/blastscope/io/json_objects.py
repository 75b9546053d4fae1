"""Read dataclasses back from JSON; pydantic checks each value against its type hint."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

Kind = TypeVar("Kind")
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
NumberOrNull = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number that JSON has as null if it is undefined (NaN)."""

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def read_as(kind: type[Kind], content: Any) -> Kind:
    """Read what :func:`dataclasses.asdict` made of an object of this dataclass.

    Raises:
        ValueError: naming the first value that is missing or does not fit.
    """
    try:
        found: Kind = _adapter(kind).validate_python(content)
    except ValidationError as error:
        raise ValueError(first_error(error)) from error
    return found


def first_error(error: ValidationError) -> str:
    """Return where the first value that does not fit is, and why it does not."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
