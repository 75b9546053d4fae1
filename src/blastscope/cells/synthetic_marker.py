"""How a folder of synthetic cells is told from one of real cells."""

from __future__ import annotations

from pathlib import Path

MARKER = "SYNTHETIC.txt"
"""The file at the top of a folder of synthetic cells: its presence says that they are synthetic."""


def is_marked(folder: Path) -> bool:
    """Say whether a folder is one of synthetic cells, or is at most two folders below one."""
    whole = folder.resolve()  # "." has neither a name nor parents
    return any((up / MARKER).is_file() for up in (whole, *whole.parents[:2]))
