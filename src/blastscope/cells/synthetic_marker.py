"""How a folder of synthetic cells is told from one of real cells."""

from __future__ import annotations

MARKER = "SYNTHETIC.txt"
"""The file at the top of a folder of synthetic cells: its presence says that they are synthetic."""
