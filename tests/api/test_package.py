"""The package itself: what importing it brings, and what it shows."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

import blastscope as bs

HEAVY = ("torch", "numpy", "polars", "sklearn", "matplotlib", "cv2", "pydantic", "PIL", "typer")


def test_importing_brings_nothing_heavy():
    code = (
        f"import sys, blastscope; dir(blastscope); print([n for n in {HEAVY} if n in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_dir_shows_the_api_and_every_name_is_there():
    shown = dir(bs)
    assert sorted(shown) == sorted(bs.__all__)
    for name in shown:
        assert getattr(bs, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'evaluated'"):
        bs.evaluated  # noqa: B018


@pytest.mark.parametrize("name", [n for n in bs.__all__ if n[0].islower()])
def test_every_verb_has_a_docstring_and_types(name):
    verb = getattr(bs, name)
    assert verb.__doc__
    signature = inspect.signature(verb)
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters:
        described = re.search(rf"^        (\w+, )*{parameter}(, \w+)*: ", verb.__doc__, re.M)
        assert described, f"{name}: {parameter} is not described"
