"""The benchmarks run, and what they share is right; how fast things are is not tested."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def common(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import common

    return common


def _run(name: str, *words: str) -> str:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_imports_of_the_package_is_there(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("blastscope"):
            module = import_module(node.module)
            assert [one.name for one in node.names if not hasattr(module, one.name)] == []


def test_the_bootstrap_agrees_with_scikit_learn_and_is_ahead():
    said = _run("bootstrap", "--cells", "400", "--resamples", "400", "--timed", "5")
    assert "| scikit-learn in a loop *" in said
    off = re.search(r"same draws: (\S+)", said)
    assert off is not None
    assert float(off[1]) < 1e-9


def test_a_table_is_markdown(common, capsys):
    common.table("Rates", ["", "cells/s"], [["ours", "1,000"], ["theirs", "9"]], "a note")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "**Rates**",
        "",
        "|        | cells/s |",
        "| ------ | ------- |",
        "| ours   | 1,000   |",
        "| theirs | 9       |",
        "",
        "a note",
    ]


def test_linked_cells_are_as_many_as_asked_for_with_names_of_their_own(common, tmp_path):
    chosen = common.some_cells(None, 12, tmp_path)
    folder = common.link_cells(chosen, 30, tmp_path / "many")
    found = common.list_cells([folder])
    assert len(found.cells) == 30
    assert not found.problems
    assert {item.label for item in found.cells} == {"all", "hem"}


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux")
def test_memory_is_that_of_the_process_at_its_most(common):
    code = "import time; held = bytearray(100_000_000); time.sleep(.3); del held"
    seen = common.watched([sys.executable, "-c", code])
    assert 100e6 < seen.memory < 160e6
    assert seen.seconds > 0.3


def test_works_are_timed_in_turn_and_the_best_counts(common):
    order = []
    found = common.in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert set(found) == {"a", "b"}
