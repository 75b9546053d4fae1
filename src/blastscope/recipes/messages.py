"""Turn pydantic's list of errors into one sentence: which file, which key, what is allowed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from blastscope.errors import did_you_mean
from blastscope.recipes.schema import SECTIONS, Recipe

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_AS_MAPPING = {"trainable": "{from: layer}", "schedule": "{steps: {epoch: factor}}"}
"""What a key takes beside words."""


def one_sentence(label: str, error: ValidationError) -> str:
    """Write the first error of the recipe called ``label`` as a sentence.

    An unknown key comes before a missing one, because a misspelt key causes both.
    """
    details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    rest = len(details) - 1
    more = f" ({rest} more to correct)" if rest else ""
    return f"{label}: {_explain(details[0])}{more}."


def _explain(detail: ErrorDetails) -> str:
    path = detail["loc"]
    key = _key(path)
    given = f"{key} is {_short(detail['input'])}"
    match detail["type"]:
        case "extra_forbidden":
            section = SECTIONS.get(str(path[-2]), Recipe) if len(path) > 1 else Recipe
            keys = [field.alias or name for name, field in section.model_fields.items()]
            if section is Recipe:
                keys = ["extends", *keys]
            return f"{key} is not a key{did_you_mean(path[-1], keys)}; allowed: {', '.join(keys)}"
        case "missing":
            return f"{key} is missing"
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
            if path[-1] == "<word>":
                allowed.append(_AS_MAPPING[str(path[-2])])
            return f"{given}{did_you_mean(detail['input'], allowed)}; choose {_list(allowed)}"
        case "tuple_type":
            return f"{given}: write a list, [gap] for example"
        case "value_error":
            message = str(detail["ctx"]["error"])
            return f"in {key}, {message}" if key else message
        case _:
            reason = detail["msg"][0].lower() + detail["msg"][1:]
            return f"{given}: {reason}" if key else reason


def _key(path: tuple[int | str, ...]) -> str:
    """Write a path as ``model.head[1].dropout``, without the tags of our unions."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part + 1}]"
        elif not part.startswith("<"):
            written += f".{part}" if written else part
    return written


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
