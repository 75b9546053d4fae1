"""Those who write at once share a commit, and nothing else."""

from __future__ import annotations

import threading
from concurrent.futures import wait
from contextlib import contextmanager, nullcontext

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from blastscope.errors import BlastscopeError
from blastscope.workbench.store.database import Database, sqlite_url
from blastscope.workbench.store.group_writer import GroupWriter
from blastscope.workbench.store.tables import AuditEntry


@pytest.fixture
def database(tmp_path):
    made = Database(sqlite_url(tmp_path))
    made.migrate()
    yield made
    made.close()


def note(what: str, refused: bool = False):
    def do(session):
        session.add(AuditEntry(what=what, about={}))
        session.flush()
        if refused:
            raise BlastscopeError(what)
        return what

    return do


def kept(database) -> list[str]:
    with database.read() as session:
        return [one.what for one in session.query(AuditEntry).order_by(AuditEntry.id)]


def test_what_waits_shares_a_commit_and_a_refusal_takes_back_its_own_only(database):
    writer, commits = GroupWriter(database, nullcontext), []
    event.listen(database.engine, "commit", commits.append)
    with database.write():  # somebody else writes: the others gather meanwhile
        answers = [writer.submit(note(str(k), refused=k % 3 == 0)) for k in range(30)]
    wait(answers, 20)
    told = ["refused" if one.exception() else one.result() for one in answers]
    assert told == ["refused" if k % 3 == 0 else str(k) for k in range(30)]
    assert kept(database) == [str(k) for k in range(30) if k % 3]
    assert len(commits) <= 4
    writer.close()
    with pytest.raises(BlastscopeError, match="being closed"):
        writer.submit(note("late"))


def test_nobody_is_answered_before_the_commit(database):
    writer, seen = GroupWriter(database, nullcontext), []

    def asked(answer):
        seen.append((answer.result(), kept(database)))

    answer = writer.submit(note("one"))
    answer.add_done_callback(asked)
    wait([answer], 20)
    writer.close()
    assert seen == [("one", ["one"])]


def test_a_commit_that_fails_fails_for_all_of_it(database):
    undone = []

    @contextmanager
    def around():
        try:
            yield
        except BaseException:
            undone.append(threading.current_thread().name)
            raise

    def broken(session):
        session.execute(text("PRAGMA defer_foreign_keys=ON"))  # so that only the commit fails
        session.add(AuditEntry(what="broken", about={}, person_id=999))
        session.flush()

    writer = GroupWriter(database, around)
    with database.write():
        answers = [writer.submit(do) for do in (note("one"), broken, note("two"))]
    wait(answers, 20)
    assert [type(one.exception()) for one in answers] == [IntegrityError] * 3
    assert set(undone) == {"writer"}
    assert kept(database) == []
    assert writer.submit(note("after")).result(20) == "after"
    assert kept(database) == ["after"]
    writer.close()
