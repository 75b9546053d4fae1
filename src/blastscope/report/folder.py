"""Whose folder it is: a report is never written over another kind of report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blastscope.errors import BlastscopeError

_OWNERS = {
    "checkpoint.safetensors": "a run",
    "recipe.yaml": "a run",
    "ensemble.json": "an ensemble",
    "store.json": "a store",
    "study.json": "a study",
    "metrics.json": "an evaluation",
    "comparison.json": "a comparison",
    "errors.json": "an error analysis",
    "explanation.json": "an explanation",
    "leakage.json": "a leakage gauge",
    "seeds.json": "runs of several seeds",
    "stress.json": "a stress test",
}


def refuse_others_folder(out: Path, mine: str, also: Sequence[str] = ()) -> None:
    """Refuse a folder whose ``report.html`` is, or will be, something else's.

    Args:
        out: where a report is to be written.
        mine: the file by which this kind of report knows its own folder.
        also: files that it writes beside ``report.html``, and that somebody may have had there.

    Raises:
        BlastscopeError: where ``out`` holds something else, or a file of unknown origin.
    """
    for name, owner in _OWNERS.items():
        if name != mine and (out / name).exists():
            raise BlastscopeError(
                f"{out} holds {owner} ({name}), whose report would be overwritten: choose another "
                "folder with --out."
            )
    for name in ("report.html", *also):
        if (out / name).exists() and not (out / mine).exists():
            raise BlastscopeError(
                f"{out} holds another {name}, which would be overwritten: choose another folder "
                "with --out."
            )
