"""Read and write the YAML of recipes: small files, plain values, no repeated keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from blastscope.errors import BlastscopeError
from blastscope.io.remote import refuse_remote

MOST_BYTES = 64 * 1024

# PyYAML reads YAML 1.1: 1e-3 is a text, `no` is false and 010 is 8. These are the rules of YAML
# 1.2's core schema (yaml.org/spec/1.2.2, section 10.3) without octal numbers and infinity.
_RULES = (
    ("bool", r"true|false", "tf"),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    (
        "float",
        r"-?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|-?[0-9]+[eE][-+]?[0-9]+",
        "-.0123456789",
    ),
    ("null", r"null|~|", "n~\0"),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and shape

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError("a key must be a word")
            if key.value in seen:
                raise yaml.YAMLError(f"the key {key.value} is repeated")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that our reader or a YAML 1.1 reader would misread."""


for _tag, _pattern, _first in _RULES:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}",
            re.compile(rf"^(?:{_pattern})$"),
            ["" if character == "\0" else character for character in _first],
        )


def parse_yaml(text: str, label: str, what: str = "a recipe") -> Any:
    """Read YAML as numbers, texts, lists and mappings only; ``what`` is what it should be.

    Raises:
        BlastscopeError: naming ``label``, if it is not YAML or repeats a key.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError as error:
        raise BlastscopeError(f"{label} is nested too deeply for {what}.") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        reason = f"{getattr(error, 'problem', None) or error}{where}"
        raise BlastscopeError(f"{label} is not valid YAML for {what}: {reason}.") from error


def read_yaml(path: Path, what: str = "a recipe") -> dict[str, Any]:
    """Read the file of a recipe, or of ``what``, as a mapping.

    Raises:
        BlastscopeError: if it is missing, larger than 64 KiB or not a YAML mapping.
    """
    refuse_remote(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BlastscopeError(f"{path} is larger than {MOST_BYTES} bytes: it is not {what}.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BlastscopeError(f"{path} cannot be read: {reason}.") from error
    content = parse_yaml(text, str(path), what)
    if not isinstance(content, dict):
        raise BlastscopeError(f"{path} is not {what}: it must be a mapping of keys to values.")
    return content


def dump_yaml(content: dict[str, Any]) -> str:
    """Write a mapping as YAML, in its own order."""
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return str(text)
