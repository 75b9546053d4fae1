"""Cells to be split: one spelling for a subject, and a row that is there twice counts once."""

from __future__ import annotations

import polars as pl

from blastscope.data.cell_sources import read_cells
from blastscope.data.cell_table import CELLS
from blastscope.data.splits import make_split
from blastscope.io.tables import write_table


def test_subjects_have_one_spelling_in_a_cell_table_and_its_split(tmp_path):
    spellings = ["7", "7.0", "8", "8.00", "nan", "h3", "H3", "H4"] * 6
    rows = pl.DataFrame(
        {
            "cell": [f"c{k}" for k in range(48)],
            "label": [("hem" if name in ("h3", "H3", "H4") else "all") for name in spellings],
            "subject": spellings,
        }
    )
    others = [pl.lit(None, kind).alias(name) for name, kind in CELLS.columns.items()
              if name not in rows.columns]  # fmt: skip
    write_table(rows.with_columns(others), tmp_path / "cells.parquet", CELLS)
    cells = read_cells(tmp_path / "cells.parquet")
    assert sorted(cells["subject"].drop_nulls().unique()) == ["7", "8", "H3", "H4"]
    _, report = make_split(tmp_path / "cells.parquet", "image", out=tmp_path / "split.parquet")
    assert set().union(*report.shared_subjects.values()) <= {"7", "8", "H3", "H4"}


def test_doubled_rows_are_counted_once(tmp_path):
    names = [f"UID_{k % 5 + 1}_1_{k + 1}_all" for k in range(20)]
    names += [f"UID_H{k % 5 + 1}_1_{k + 1}_hem" for k in range(20)]
    (tmp_path / "names.csv").write_text("\n".join(["file", *names, *names]))
    path, report = make_split(tmp_path / "names.csv", "subject", out=tmp_path / "split.parquet")
    counted = sum(sum(part.values()) for part in report.cells.values())
    assert counted == pl.read_parquet(path).height == 40
