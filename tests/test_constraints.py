"""The pinned packages install on the oldest Python that the project promises."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]


def test_every_pin_allows_the_oldest_python():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (oldest,) = SpecifierSet(project["requires-python"])
    known, refused = 0, []
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        try:
            found = metadata(pin.name)
        except PackageNotFoundError:  # of an extra, or of another platform
            continue
        if not pin.specifier.contains(found["Version"], prereleases=True):
            continue
        known += 1
        needs = SpecifierSet(found.get("Requires-Python") or "")
        if not needs.contains(f"{oldest.version}.0"):
            refused.append(f"{line} needs Python {needs}")
    assert known > 100
    assert not refused
