"""What the help says, and what the command line calls."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import blastscope.cli
from blastscope.cli import VERBS, app

VERB_NAMES = sorted(get_command(app).commands)
SAME = ("--json", "--seed", "--device", "--weights-dir", "--set", "--part")
"""Options with the same words in every verb."""


def help_of(*verb: str) -> str:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*verb, "-h"])
    assert done.exit_code == 0, done.output
    return done.output


def test_every_verb_has_a_heading_and_a_line():
    told = help_of()
    for heading in VERBS:
        assert f"\n{heading}:\n" in told
    for verb in VERB_NAMES:
        assert re.search(rf"^  {verb} +\S.*[.?]$", told, re.M), verb


@pytest.mark.parametrize("verb", [v for v in VERB_NAMES if v != "weights"])
def test_every_verb_has_an_example_and_json(verb):
    told = help_of(verb)
    assert f"Example: blastscope {verb} " in " ".join(told.split())
    assert "--json" in told
    assert "-h, --help" in told


@pytest.mark.parametrize("verb", [v for v in VERB_NAMES if v != "weights"])
def test_the_options_of_an_example_are_options_of_the_verb(verb):
    command = get_command(app).commands[verb]
    options = {name for parameter in command.params for name in parameter.opts}
    shown = set(re.findall(r"(?<= )--[a-z-]+", str(command.epilog)))
    assert shown <= options, shown - options


def test_an_option_has_the_same_words_in_every_verb():
    said: dict[str, set[str]] = {}
    for verb in VERB_NAMES:
        for parameter in get_command(app).commands[verb].params:
            for name in parameter.opts:
                if name in SAME and verb != "weights":
                    said.setdefault(name, set()).add(parameter.help)
    assert {name: len(words) for name, words in said.items()} == dict.fromkeys(said, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "p.csv", "--part", "holdout"],
        ["train", "r", "--store", "s", "--split", "s", "--out", "r", "--device", "tpu"],
        ["prepare", "c", "--out", "s", "--scale", "wide"],
        ["split", "s", "--protocol", "random"],
        ["ensemble", "a", "b", "--out", "o", "--method", "magic"],
    ],
)
def test_a_wrong_choice_is_refused_with_the_choices(arguments):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert f"'{arguments[-1]}' is not one of" in done.output
    assert "Value error" not in done.output


def test_the_command_line_imports_the_api_only():
    for path in Path(blastscope.cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("blastscope."):
                room = node.module.split(".")[1]
                assert room in ("api", "cli", "errors", "process"), f"{path.name}: {node.module}"
