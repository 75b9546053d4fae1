"""Start the worker, begin it again if it ends, and say how it does."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from sqlalchemy import select

from blastscope.workbench.jobs import release_all
from blastscope.workbench.settings import Settings
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.tables import QueuedJob, now

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
_MOST_STARTS, _START_SECONDS = 4, 300
"""So many starts within so many seconds: then it is not begun again but by a person."""


class Supervisor:
    """The worker process of a server."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._process: subprocess.Popen[str] | None = None
        self._starts: deque[float] = deque(maxlen=_MOST_STARTS)
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self.since = now()

    def start(self) -> None:
        """Start the worker, and a thread that watches it."""
        self._begin()
        threading.Thread(target=self._watch, daemon=True).start()

    def restart(self) -> None:
        """Start the worker if it has stopped."""
        with self._lock:
            if not self.running:
                self._starts.clear()
                self._begin()

    def stop(self) -> None:
        """End the worker; what it was at is taken up again by the next one."""
        self._ending.set()
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def running(self) -> bool:
        """Whether the worker runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The worker's process, if it was started."""
        return None if self._process is None else self._process.pid

    def as_json(self) -> dict[str, Any]:
        """Return what a page shows of the worker."""
        state = "stopped"
        if self.running:
            with self._database.read() as session:
                job = session.scalar(
                    select(QueuedJob.id).where(QueuedJob.state == "running").limit(1)
                )
            state = "idle" if job is None else "working"
        return {"state": state, "since": self.since.isoformat()}

    def _begin(self) -> None:
        with self._database.write() as session:
            release_all(session)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "blastscope.workbench.worker", str(self._settings.folder)],
            stdin=subprocess.PIPE,
            text=True,
        )
        self._starts.append(time.monotonic())
        self.since = now()
        if self._process.stdin is not None:
            try:
                self._process.stdin.write(self._settings.database + "\n")
                self._process.stdin.flush()
            except OSError:
                self._process.kill()  # without the database's URL it would wait for ever
                raise

    def _watch(self) -> None:
        told = ""
        while not self._ending.wait(_LOOK_SECONDS):
            with self._lock:
                if self.running or self._ending.is_set():
                    continue
                often = len(self._starts) == _MOST_STARTS
                if often and time.monotonic() - self._starts[0] < _START_SECONDS:
                    continue
                try:
                    self._begin()
                    told = ""
                except Exception as error:  # such as a full disk: it must not end the watch
                    reason = f"{type(error).__name__}: {error}".partition("\n")[0]
                    if reason != told:  # once, not each round
                        _LOG.error("The worker could not be started (%s): trying again.", reason)
                    told = reason
