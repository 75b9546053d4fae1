"""A small, seeded part of `make torture`, in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import blastscope as bs
from tests.conftest import draw_cell, write_cell
from tests.torture.commands import blastscope
from tests.torture.malformed import torture_files
from tests.torture.material import quick_files
from tests.torture.mutations import MUTATIONS, good_files, mutated_files, write_mutated


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damage; the command hides them
def test_every_damaged_image_is_used_or_named(tmp_path):
    names = set(write_mutated(tmp_path / "cells", 100, seed=4))
    checked = bs.check(tmp_path / "cells").found
    bad = {Path(problem.file).name for problem in checked.unusable}
    assert len(bad) > 30
    assert checked.cells + len(bad) == len(names)
    store = bs.prepare(tmp_path / "cells", out=tmp_path / "store", size=32, skip_bad=True)
    assert {Path(problem.file).name for problem in store.made.skipped} == bad
    table = bs.predict(tmp_path / "cells").to_frame()
    refused = table.filter(table["p_all"].is_null())
    assert {Path(file).name for file in refused["file"]} == bad
    assert {Path(file).name for file in table["file"]} == names
    assert refused["problem"].null_count() == 0


def test_mutations_are_the_same_for_a_seed_and_change_every_format():
    first, again = (list(mutated_files(40, 7)) for _ in range(2))
    assert first == again
    rng = np.random.default_rng(0)
    for name, content in good_files().items():
        for change, _ in MUTATIONS[:5]:
            assert isinstance(change(content, rng), bytes), (name, change)


def test_damaged_files_of_other_kinds_are_refused_or_read(tmp_path):
    tried, refused, faults = torture_files(quick_files(tmp_path), tmp_path, 25, 5, evaluated=False)
    assert faults == []
    assert set(tried.values()) == {25}
    assert all(refused[kind] >= 5 for kind in tried)


def test_a_command_that_cannot_write_says_so_and_leaves_nothing(tmp_path):
    write_cell(tmp_path / "cells" / "a.bmp", draw_cell(1, 90, 20))
    words = ("predict", tmp_path / "cells", "--out", tmp_path / "p.csv")
    ended = blastscope(*words, limit=300)
    assert ended.fault is None
    assert ended.status == 2
    assert "cannot be written" in ended.told
    assert not (tmp_path / "p.csv").exists()
