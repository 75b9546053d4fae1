"""Polars panics on some damaged Parquet files; that is one sentence, as for the others."""

from __future__ import annotations

import os
import threading

import numpy as np
import polars as pl
import pytest

from blastscope.errors import BlastscopeError
from blastscope.io import tables
from blastscope.io.predictions import PREDICTIONS, read_predictions, write_predictions

FRAME = pl.DataFrame(
    {
        "cell": ["a", "b"], "subject": ["1", "2"], "label": ["all", "hem"],
        "part": ["test", "test"], "model": ["m", "m"], "p_all": [0.2, 0.4],
    }
)  # fmt: skip


def test_a_panic_is_one_sentence_and_nothing_else_is_printed(tmp_path, monkeypatch, capfd):
    path = tmp_path / "p.parquet"
    write_predictions(FRAME, path)

    def panics(*_: object, **__: object) -> None:
        os.write(2, b"thread panicked, stack backtrace")
        raise pl.exceptions.PanicException("called `Option::unwrap()`\non a None value")

    monkeypatch.setattr(pl, "read_parquet", panics)
    with pytest.raises(BlastscopeError, match=r"p\.parquet cannot be read .*unwrap\(\)`\)"):
        read_predictions(path)
    assert capfd.readouterr().err == ""


def test_what_is_said_without_a_panic_is_kept(tmp_path, monkeypatch, capfd):
    path = tmp_path / "p.parquet"
    write_predictions(FRAME, path)
    real = pl.read_parquet

    def says(*where: object, **how: object) -> pl.DataFrame:
        os.write(2, b"a warning")
        return real(*where, **how)

    monkeypatch.setattr(pl, "read_parquet", says)
    assert tables.read_table(path, PREDICTIONS)[0].height == 2
    assert capfd.readouterr().err == "a warning"


def test_two_threads_that_read_at_once_leave_standard_error_where_it_was(
    tmp_path, monkeypatch, capfd
):
    path = tmp_path / "p.parquet"
    write_predictions(FRAME, path)
    real, second_in, first_out = pl.read_parquet, threading.Event(), threading.Event()

    def slow(*where: object, **how: object) -> pl.DataFrame:
        """The first read ends after the second begins, and the second last, if they may overlap."""
        if threading.current_thread().name == "second":
            second_in.set()
            first_out.wait(0.2)
        else:
            threading.Thread(target=tables.read_parquet, args=(path,), name="second").start()
            second_in.wait(0.2)
        os.write(2, b"a warning ")
        return real(*where, **how)

    monkeypatch.setattr(pl, "read_parquet", slow)
    kept = os.dup(2)
    try:
        assert tables.read_parquet(path).height == 2
        first_out.set()
        for thread in threading.enumerate():
            if thread.name == "second":
                thread.join()
        assert os.path.sameopenfile(kept, 2)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    os.write(2, b"and a message after")
    assert capfd.readouterr().err == "a warning a warning and a message after"


def test_damage_anywhere_is_one_sentence_or_is_read(tmp_path):
    path = tmp_path / "p.parquet"
    write_predictions(FRAME, path)
    good, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        content = bytearray(good)
        for place in rng.integers(len(good), size=int(rng.integers(1, 6))):
            content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(content))
        try:
            read_predictions(path)
        except BlastscopeError:
            refused += 1
    assert refused > 20
