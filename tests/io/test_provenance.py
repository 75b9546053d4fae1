import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import blastscope
from blastscope.io.provenance import command, differences, provenance


def test_it_says_what_this_process_is():
    found = provenance()
    assert found["code"]["version"] == blastscope.__version__
    assert found["python"] == platform.python_version()
    assert found["packages"]["numpy"] == np.__version__
    assert found["cores"] >= 1
    assert "pytest" not in found["packages"]  # no result follows from it


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/opt/x/blastscope", "check", "a b/"], ["blastscope", "check", "a b/"]),
        (["/x/blastscope/__main__.py", "demo"], ["blastscope", "demo"]),
        (["blastscope", "--db", "postgresql://me:pw@h/d"], [0, "--db", "postgresql://***@h/d"]),
        (["blastscope", "--password", "pw", "x"], [0, "--password", "***", "x"]),
        (["blastscope", "--api-key=pw", "x"], [0, "--api-key=***", "x"]),
        (["blastscope", "s3://b/k?token=pw&v=1"], [0, "s3://b/k?token=***&v=1"]),
        (["blastscope", "tokens/", "--seed", "3"], [0, "tokens/", "--seed", "3"]),
    ],
)
def test_a_command_is_kept_without_its_secrets(words, told):
    assert command(words) == ["blastscope", *told[1:]]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_the_packages_own_checkout(tmp_path):
    """One in a checkout that does not track it has none."""
    package, source = tmp_path / "own" / "blastscope", Path(blastscope.__file__).parent
    shutil.copytree(source / "io", package / "io", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "errors.py", "parallel.py", "process.py"):
        shutil.copy2(source / name, package / name)
    told = (
        "from blastscope.io.provenance import code_version\n"
        "found = code_version(); print(found['commit'], found['dirty'])"
    )

    def here() -> list[str]:
        call = [sys.executable, "-c", told]
        done = subprocess.run(
            call, env={**os.environ, "PYTHONPATH": str(tmp_path / "own")}, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        return done.stdout.split()

    def git(*words: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@x"]
        call = ["git", "-C", str(tmp_path), *who, *words]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    assert here() == ["None", "None"]
    (tmp_path / ".gitignore").write_text("__pycache__\n")
    git("add", ".")
    git("commit", "-qm", "x")
    commit = git("rev-parse", "HEAD")
    assert here() == [commit, "False"]
    (package / "errors.py").write_text((package / "errors.py").read_text() + "\n")
    assert here() == [commit, "True"]


def test_only_what_is_known_on_both_sides_differs():
    then = {"python": "3.11.1", "gpus": ["H"], "packages": {"a": "1", "b": "2"}, "cores": 4}
    here = {"python": "3.12.0", "gpus": None, "packages": {"a": "1", "b": "3", "c": "1"}}
    assert differences(then, here) == [("python", "3.11.1", "3.12.0"), ("packages.b", "2", "3")]
    assert differences(then, then) == []
