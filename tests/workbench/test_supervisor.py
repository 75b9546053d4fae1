"""The worker is watched for good, whatever goes wrong when it is started."""

from __future__ import annotations

import threading

import pytest

from blastscope.workbench import supervisor as module
from blastscope.workbench.supervisor import Supervisor


class Pipe:
    def __init__(self, broken: bool) -> None:
        self.broken, self.written = broken, ""

    def write(self, text: str) -> None:
        if self.broken:
            raise BrokenPipeError(32, "Broken pipe")
        self.written += text

    def flush(self) -> None: ...

    def close(self) -> None: ...


class Process:
    """A process that lives until it is killed."""

    def __init__(self, broken: bool = False) -> None:
        self.stdin, self.ended, self.pid = Pipe(broken), False, 1

    def poll(self) -> int | None:
        return 0 if self.ended else None

    def kill(self) -> None:
        self.ended = True

    def wait(self, seconds: float | None = None) -> int:
        self.ended = True
        return 0


@pytest.fixture
def starts(monkeypatch):
    """What becomes of each start: an error, or a process; an event says that all came."""
    left: list[Process | Exception] = []
    over = threading.Event()

    def start(*_args, **_more):
        one = left.pop(0)
        if not left:
            over.set()
        if isinstance(one, Exception):
            raise one
        return one

    monkeypatch.setattr(module.subprocess, "Popen", start)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.005)
    return left, over


def test_a_failed_start_is_told_once_and_tried_again(served, starts, caplog, monkeypatch):
    left, over = starts
    full, memory = OSError(28, "No space left on device"), OSError(12, "Cannot allocate memory")
    first, broken, last = Process(), Process(broken=True), Process()
    left += [first, full, full, full, memory, broken, last]
    released = []
    real = module.release_all

    def release(session):
        released.append(1)
        if len(released) == 2:
            raise full
        real(session)

    monkeypatch.setattr(module, "release_all", release)
    bench = served.bench
    watched = Supervisor(bench.settings, bench.database)
    watched.start()
    first.ended = True
    assert over.wait(10)
    for _ in range(400):
        if last.stdin.written:
            break
        threading.Event().wait(0.005)
    assert watched.running
    assert last.stdin.written == bench.settings.database + "\n"
    assert broken.ended
    watched.stop()
    told = [one.getMessage() for one in caplog.records if one.name == module.__name__]
    assert len(told) == 3
    assert [sum(word in one for one in told) for word in ("space", "memory", "pipe")] == [1, 1, 1]


def test_starts_that_end_at_once_are_not_repeated_for_ever(served, starts):
    left, _ = starts
    left += [Process(broken=True) for _ in range(20)]
    left.insert(0, Process())
    watched = Supervisor(served.bench.settings, served.bench.database)
    watched.start()
    watched._process.ended = True
    for _ in range(100):
        threading.Event().wait(0.005)
    watched.stop()
    assert len(left) == 21 - module._MOST_STARTS
