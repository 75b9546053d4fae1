"""Names of cells that are their own: two cells of one name are called by their files too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath


def unique_names(cells: Sequence[str], files: Sequence[str]) -> list[str]:
    """Return a unique name for each cell: its own, or as much of its file's path as is needed.

    If several would have the same name, each of them gets its path without the suffix, then its
    path, then its number as well. The order of the other cells changes nothing.

    Args:
        cells: the names they have.
        files: the path of each; empty if it has none.
    """
    names = [cell.strip() for cell in cells]
    steps = [0] * len(names)
    while True:
        indices: dict[str, list[int]] = defaultdict(list)
        for k, name in enumerate(names):
            indices[name].append(k)
        alike = [same for name, same in indices.items() if len(same) > 1 or not name]
        if not alike:
            return names
        for same in alike:
            least = min(steps[k] for k in same)
            for k in same:
                if steps[k] == least:  # a longer name stays: the shorter one has to give way
                    steps[k] += 1
                    names[k] = _longer(files[k] or cells[k], steps[k], k + 1).strip()


def _longer(path: str, step: int, number: int) -> str:
    if step == 1:
        return path.removesuffix(PurePosixPath(path).suffix)
    return path if step == 2 else f"{path}{'#' * (step - 2)}{number}"
