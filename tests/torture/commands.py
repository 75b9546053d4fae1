"""Run commands as a user does, and see what becomes of them: status, words, time and memory."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

COMMAND = (sys.executable, "-m", "blastscope")
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        status: its exit status; minus the signal that ended it; None if it ran out of time.
        memory: the most that was resident, in bytes.
        processor: seconds of processor time.
    """

    words: tuple[str, ...]
    status: int | None
    out: str
    error: str
    seconds: float
    processor: float
    memory: int

    @property
    def fault(self) -> str | None:
        """What is wrong with the way in which it ended; None if it ended well or said why not."""
        if self.status is None:
            return f"hung: {self.shown}"
        if self.status < 0:
            return f"killed by {signal.Signals(-self.status).name}: {self.shown}"
        if "Traceback (most recent call last)" in self.error:
            return f"a traceback: {self.shown}\n{self.error[-1500:]}"
        if self.status not in (0, 1, 2):
            return f"exit status {self.status}: {self.shown}"
        if self.status == 2 and not self.error.strip():
            return f"exit status 2 without a word: {self.shown}"
        return None

    @property
    def shown(self) -> str:
        """The command, without the interpreter."""
        return " ".join(self.words[1:])[:300]

    @property
    def told(self) -> str:
        """The sentence that it ended with."""
        lines = [line for line in self.error.splitlines() if line.startswith("blastscope:")]
        return lines[-1] if lines else ""


def environment(**more: str) -> dict[str, str]:
    """Return the environment of commands: this checkout, one thread."""
    paths = [str(REPOSITORY / "src"), str(REPOSITORY)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **more}


def start(
    words: Sequence[str], cwd: Path | None = None, **where: object
) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own."""
    told = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **where}
    return subprocess.Popen(list(words), cwd=cwd, env=environment(), start_new_session=True, **told)  # type: ignore[call-overload,no-any-return]


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and all that it started, as ``kill -9`` does."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def blastscope(*words: object, seconds: float = 600, limit: int | None = None) -> Ended:
    """Run a blastscope command; ``limit`` is the largest file that it may write, in bytes."""
    return run([*COMMAND, *map(str, words)], seconds, limit)


def run(words: Sequence[str], seconds: float = 600, limit: int | None = None) -> Ended:
    """Run a command to its end, or kill it after so many seconds."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    began, usage = time.monotonic(), None
    pipe = subprocess.PIPE  # a limit on files would be one on what is said in them
    process = subprocess.Popen(
        list(words), stdout=pipe, stderr=pipe, stdin=subprocess.DEVNULL, env=environment(),
        start_new_session=True, preexec_fn=limited,
    )  # fmt: skip
    with ThreadPoolExecutor(2) as readers:
        assert process.stdout is not None
        assert process.stderr is not None
        said = [readers.submit(stream.read) for stream in (process.stdout, process.stderr)]
        while time.monotonic() - began < seconds:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            time.sleep(0.02)
        else:
            kill(process)
        took = time.monotonic() - began
        texts = [text.result().decode("utf-8", errors="replace") for text in said]
    process.stdout.close()
    process.stderr.close()
    hung = usage is None or (process.returncode == -signal.SIGKILL and took >= seconds)
    cpu = 0.0 if usage is None else usage.ru_utime + usage.ru_stime
    memory = 0 if usage is None else usage.ru_maxrss * 1024
    status_or_none = None if hung else process.returncode
    return Ended(tuple(words), status_or_none, texts[0], texts[1], took, cpu, memory)
