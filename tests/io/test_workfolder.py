"""Work folders: resuming after a stop at any step, refusals, locks and publishing."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine

from blastscope.data.synthetic import refuse_taken_folder
from blastscope.errors import BlastscopeError
from blastscope.io.files import only_one, read_json, replacing_folder, sqlite_url, write_json
from blastscope.io.workfolder import FolderKind, WorkFolder, first_difference, refuse_foreign

KEPT = FolderKind("seeds.json", "blastscope-seeds/1")
SCRATCH = FolderKind("plan.json", scratch=True)
LISTED = FolderKind("seeds.json", "blastscope-seeds/1", contents=("a.txt", "b.txt", "more"))
IDENTITY = {"store": "xxh3:1", "seed": 24, "settings": {"size": 32, "steps": (1, 2)}}
PARTS = ("a.txt", "b.txt", "c.txt")


class Killed(BaseException):
    """As a process that is killed, nothing handles it."""


def work(path, kind, stop=-1, torn=False):
    """Do what is not done yet, and stop before a part, or while it is written."""
    folder = WorkFolder(path, kind, IDENTITY)
    folder.open_or_resume()
    written = []
    for number, part in enumerate(PARTS):
        if folder.has(part):
            continue
        if number == stop and not torn:
            raise Killed
        with folder.add(part) as beside:
            beside.write_text(part)
            if number == stop:
                raise Killed
        written.append(part)
    return written


def content(path):
    return {file.name: file.read_text() for file in path.iterdir()}


@pytest.mark.parametrize("kind", [KEPT, SCRATCH])
@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("stop", range(3))
def test_a_kill_at_any_step_costs_nothing_that_is_done(tmp_path, kind, stop, torn):
    work(tmp_path / "whole", kind)
    with pytest.raises(Killed):
        work(tmp_path / "killed", kind, stop, torn)
    assert work(tmp_path / "killed", kind) == list(PARTS[stop:])
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_what_a_killed_process_was_writing_goes(tmp_path):
    work(tmp_path / "run", KEPT)
    (tmp_path / "run" / ".a.77.part.txt").touch()
    work(tmp_path / "run", KEPT)
    assert content(tmp_path / "run").keys() == {"seeds.json", *PARTS}


def test_another_identity_is_refused_by_its_first_difference_and_scratch_begins_anew(tmp_path):
    work(tmp_path / "kept", KEPT)
    before = content(tmp_path / "kept")
    other = {**IDENTITY, "settings": {"size": 32, "steps": [1, 3]}}
    with pytest.raises(BlastscopeError, match=r"differs in settings\.steps \(2, not 3\)"):
        WorkFolder(tmp_path / "kept", KEPT, other).open_or_resume()
    assert content(tmp_path / "kept") == before
    work(tmp_path / "scratch", SCRATCH)
    assert not WorkFolder(tmp_path / "scratch", SCRATCH, other).open_or_resume()
    assert content(tmp_path / "scratch").keys() == {"plan.json"}
    (tmp_path / "scratch" / "plan.json").write_text("{")
    assert not WorkFolder(tmp_path / "scratch", SCRATCH, other).open_or_resume()


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("blastscope-seeds/2", "a newer blastscope"),
        ("blastscope-seeds/0", "an older blastscope"),
        ("somebody-elses/1", "is not a blastscope-seeds/1 file"),
        (None, "is not a blastscope-seeds/1 file"),
    ],
)
def test_another_format_is_refused(tmp_path, form, told):
    write_json(tmp_path / "seeds.json", {"format": form, "identity": IDENTITY})
    with pytest.raises(BlastscopeError, match=told):
        WorkFolder(tmp_path, KEPT, IDENTITY).open_or_resume()
    assert read_json(tmp_path / "seeds.json")["format"] == form


@pytest.mark.parametrize("name", ["notes.txt", "environment.json", "crossval.json"])
def test_a_foreign_folder_is_never_touched(tmp_path, name):
    (tmp_path / name).write_text("mine")
    (tmp_path / ".hidden").write_text("mine too")
    with pytest.raises(BlastscopeError, match=name):
        WorkFolder(tmp_path, KEPT, IDENTITY).open_or_resume()
    assert content(tmp_path) == {name: "mine", ".hidden": "mine too"}


def test_hidden_files_and_ones_own_are_no_hindrance(tmp_path):
    (tmp_path / ".hidden").touch()
    work(tmp_path, KEPT)
    (tmp_path / "notes.txt").touch()  # laid there later
    (tmp_path / "metrics.json").touch()  # an evaluation of what is in the folder
    assert WorkFolder(tmp_path, KEPT, IDENTITY).open_or_resume()
    with pytest.raises(BlastscopeError, match="is not a folder"):
        WorkFolder(tmp_path / "notes.txt", KEPT, IDENTITY).open_or_resume()


def test_a_report_goes_beside_other_files_but_over_none(tmp_path):
    (tmp_path / "notes.txt").touch()
    refuse_foreign(tmp_path, "comparison.json", ["report.html"])
    refuse_foreign(tmp_path / "new", "comparison.json", ["report.html"])
    (tmp_path / "report.html").touch()
    with pytest.raises(BlastscopeError, match=r"holds report\.html"):
        refuse_foreign(tmp_path, "comparison.json", ["report.html"])
    (tmp_path / "comparison.json").touch()
    refuse_foreign(tmp_path, "comparison.json", ["report.html"])
    (tmp_path / "ensemble.json").touch()  # it has a comparison of its own
    with pytest.raises(BlastscopeError, match="holds an ensemble"):
        refuse_foreign(tmp_path, "comparison.json", ["report.html"])


def _hold(path, held, leave):
    with WorkFolder(path, KEPT, IDENTITY).locked():
        held.set()
        leave.wait(60)


def test_a_second_process_is_told(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, leave = context.Event(), context.Event()
    first = context.Process(target=_hold, args=(tmp_path / "run", held, leave))
    first.start()
    assert held.wait(60)
    folder = WorkFolder(tmp_path / "run", KEPT, IDENTITY)
    with pytest.raises(BlastscopeError, match="by another process"), folder.locked():
        pass
    leave.set()
    first.join(60)
    with folder.locked():
        assert folder.open_or_resume({"device": "cpu"}) is False
    assert read_json(folder.marker)["device"] == "cpu"
    assert folder.open_or_resume({"device": "cuda"})
    content = read_json(folder.marker)
    assert content.pop("provenance")["packages"]["numpy"] == np.__version__
    assert content == {
        "format": "blastscope-seeds/1",
        "identity": json.loads(json.dumps(IDENTITY)),
        "device": "cuda",
    }


def test_removed_work_takes_nothing_of_somebody_elses_with_it(tmp_path):
    out = tmp_path / "project"
    (out / ".git").mkdir(parents=True)
    (out / ".git" / "HEAD").touch()
    (out / ".notes.part2.md").touch()
    folder = WorkFolder(out, LISTED, IDENTITY)
    folder.open_or_resume()
    for part in ("a.txt", "more/b.txt"):
        with folder.add(part) as beside:
            beside.touch()
    folder.remove()
    assert {path.name for path in out.iterdir()} == {".git", ".notes.part2.md"}
    assert (out / ".git" / "HEAD").is_file()
    work(tmp_path / "new", LISTED)
    (tmp_path / "new" / "c.txt").unlink()  # it is not listed
    WorkFolder(tmp_path / "new", LISTED, IDENTITY).remove()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("begun", [False, True])
def test_scratch_begun_anew_leaves_what_is_hidden_in_a_folder_that_is_not(tmp_path, begun):
    if begun:
        WorkFolder(tmp_path, SCRATCH, {"other": 1}).open_or_resume()
        (tmp_path / "rows").mkdir()
    (tmp_path / ".git").mkdir()
    assert not WorkFolder(tmp_path, SCRATCH, IDENTITY).open_or_resume()
    assert {path.name for path in tmp_path.iterdir()} == {".git", "plan.json"}


@pytest.mark.parametrize("there", [False, True])
def test_published_work_replaces_its_own_files_alone(tmp_path, there):
    out = tmp_path / "out"
    if there:
        out.mkdir()
        (out / "a.txt").write_text("older")
        (out / "mine.txt").write_text("mine")
    work(tmp_path / "work", SCRATCH)
    WorkFolder(tmp_path / "work", SCRATCH, IDENTITY).publish(out, "c.txt")
    more = {"mine.txt": "mine"} if there else {}
    assert content(out) == {**{part: part for part in PARTS}, **more}
    assert not (tmp_path / "work").exists()


def test_differences_in_words():
    assert first_difference({"a": 1}, {"a": 2}) == "a (1, not 2)"
    assert first_difference({"a": 1}, {}) == "a (1, not none)"
    assert first_difference(None, {"a": 1}).startswith("identity (none, not")
    assert first_difference({"a": [1]}, {"a": [1, 2]}) == "a (1 of them, not 2)"
    assert first_difference({"a": "x" * 99}, {"a": "y"}) == f"a ({'x' * 57}..., not y)"


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, there):
    out = tmp_path / "out"
    if there:
        out.mkdir()
        (out / "old.txt").write_text("old")
    with pytest.raises(Killed), replacing_folder(out) as beside:  # noqa: PT012
        (beside / "new.txt").write_text("half")
        raise Killed
    assert (content(out) == {"old.txt": "old"}) if there else not out.exists()
    with replacing_folder(out) as beside:
        (beside / "new.txt").write_text("new")
    assert content(out) == {"new.txt": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_whose_replacing_was_killed_comes_back(tmp_path):
    (tmp_path / ".out.before").mkdir()
    (tmp_path / ".out.before" / "old.txt").write_text("old")
    with pytest.raises(Killed), replacing_folder(tmp_path / "out"):
        raise Killed
    assert content(tmp_path / "out") == {"old.txt": "old"}


@pytest.mark.parametrize("url", ["s3://bucket/run", "gs://bucket/run"])
def test_a_url_is_not_taken_for_a_local_folder(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    path = Path(url)
    for write in (
        lambda: work(path, KEPT),
        lambda: work(path, SCRATCH),
        lambda: write_json(path / "a.json", {}),
        lambda: WorkFolder(path, KEPT, IDENTITY).locked().__enter__(),
        lambda: replacing_folder(path).__enter__(),
        lambda: refuse_taken_folder(path),
    ):
        with pytest.raises(BlastscopeError, match=f"^{url}.* is in an object store"):
            write()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["plain.db", "a b/ä.db", "a?b=c.db", "a%20b.db", "{a}#1.db"])
def test_an_sqlite_file_lies_where_its_name_says(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    engine = create_engine(sqlite_url(path))
    with engine.begin() as connection:
        connection.exec_driver_sql("create table one (number integer)")
    engine.dispose()
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [path]


@pytest.mark.parametrize("kept", [True, False])
def test_a_folder_made_for_nothing_goes_again(tmp_path, kept):
    folder = tmp_path / "new"
    with only_one(folder / "work"):
        assert folder.exists()
        if kept:
            (folder / "done.txt").write_text("done")
    assert folder.exists() is kept


def test_a_folder_that_was_there_stays(tmp_path):
    with only_one(tmp_path / "work"):
        pass
    assert tmp_path.exists()
