"""Whether the runs of one experiment began with the same pretrained weights.

The files of a ``--weights-dir`` are not in an experiment's identity: it may have gone on with
others after a stop. Each run records the digest of the file that it began with.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json


def refuse_other_weights(runs: Iterable[Path]) -> None:
    """Refuse runs whose pretrained weights have one file name and different content.

    Runs that record no weights, such as those that start from another run, are left out.

    Args:
        runs: folders of runs that are to be judged together.

    Raises:
        BlastscopeError: naming two runs that differ, or if an ``environment.json`` is damaged.
    """
    first: dict[str, tuple[str, Path]] = {}
    for run in runs:
        path = run / "environment.json"
        weights = read_json(path).get("initial_weights") if path.is_file() else None
        if not isinstance(weights, dict) or not weights.get("sha256"):
            continue
        name, digest = str(weights.get("file")), str(weights["sha256"])
        known, other = first.setdefault(name, (digest, run))
        if digest != known:
            raise BlastscopeError(
                f"{run} began with another {name} than {other}: remove one of these runs, and "
                "give the same command with the --weights-dir of the other."
            )
