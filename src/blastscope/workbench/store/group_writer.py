"""Write what many people send at once: those who wait for one another share a commit.

A commit waits for the disk, some 8 ms, and only one can be under way. One thread therefore takes
all that waits into one transaction; each piece of work has a savepoint of its own, so that one that
is refused takes nothing of the others back. Nobody is answered before the commit is on disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from blastscope.errors import BlastscopeError
from blastscope.workbench.store.database import Database

MOST_TOGETHER = 64
"""Pieces of work in one transaction, so that the first does not wait long for the last."""
T = TypeVar("T")


@dataclass(frozen=True)
class _Work:
    do: Callable[[Session], Any]
    answer: Future[Any] = field(default_factory=Future)


class GroupWriter:
    """A thread that writes for all others; it starts with the first piece of work."""

    def __init__(self, database: Database, around: Callable[[], AbstractContextManager[None]]):
        """Write into a database.

        Args:
            around: what to hold from the first change until it is on disk, or undone.
        """
        self._database, self._around = database, around
        self._waiting: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, do: Callable[[Session], T]) -> Future[T]:
        """Have something written; the future is done once that is on disk, or was refused.

        Raises:
            BlastscopeError: if the workbench is being closed.
        """
        work = _Work(do)
        with self._lock:
            if self._closed:
                raise BlastscopeError("The workbench is being closed: send it again.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                self._thread.start()
            self._waiting.put(work)
        return work.answer

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._lock:
            self._closed, thread = True, self._thread
            self._waiting.put(None)
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            batch: list[_Work] = []
            ends = False
            while not batch or (len(batch) < MOST_TOGETHER and not self._waiting.empty()):
                work = self._waiting.get()
                if work is None:
                    ends = True
                    break
                if work.answer.set_running_or_notify_cancel():
                    batch.append(work)
            if batch:
                self._write(batch)
            if ends:
                return

    def _write(self, batch: list[_Work]) -> None:
        done: list[tuple[_Work, Any, Exception | None]] = []
        try:
            with self._database.write() as session, self._around():
                for work in batch:
                    done.append((work, *_try(session, work)))
                session.commit()
        except BaseException as error:  # nothing of the batch is on disk: nobody is told it is
            for work in batch:
                work.answer.set_exception(error)
            return
        for work, told, refused in done:
            if refused is None:
                work.answer.set_result(told)
            else:
                work.answer.set_exception(refused)


def _try(session: Session, work: _Work) -> tuple[Any, Exception | None]:
    """Do a piece of work; what it changed is taken back if it raises."""
    point = session.begin_nested()
    try:
        told = work.do(session)
        point.commit()
    except Exception as error:
        point.rollback()  # if this fails, so does the batch
        return None, error
    return told, None
