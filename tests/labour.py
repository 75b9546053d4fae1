"""What the workers of a test do: functions that a new process finds, and that import little."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blastscope.io.provenance import provenance
from blastscope.parallel import ProcessCrew, cores


def obey(task: str) -> str:
    """Do what a task says."""
    word, _, rest = task.partition(" ")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "die-once":  # as a machine that is lost, and the task begun again
        if not Path(rest).exists():
            Path(rest).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    elif word == "raise":
        raise RuntimeError(rest)
    elif word == "stay":  # says that it began, and stays for long
        Path(rest).with_name(f"{Path(rest).name}.{os.getpid()}").touch()
        time.sleep(60)
    return f"{task} {os.getpid()}"


@dataclass(frozen=True)
class Errand:
    """A job for the runner: a task for ``obey``."""

    key: str
    task: str
    needs: str | None = None

    @property
    def name(self) -> str:
        return self.key


def run_errand(job: Errand, watch: Any = None) -> str:
    """Do a job's task."""
    return obey(job.task).rpartition(" ")[0]


def cores_of(task: str) -> int:
    """Return how many cores a task may use."""
    return cores()


def command_of(task: str) -> list[str]:
    """Return the command that a result of this process records."""
    return list(provenance()["command"])


def stay_all(folder: str, count: int) -> None:
    """Give two workers more tasks than they can do at a time."""
    tasks = [f"stay {folder}/{number}" for number in range(count)]
    with ProcessCrew(obey, 2) as crew:
        while tasks:
            while tasks and crew.free:
                crew.start(tasks.pop(0))
            crew.finished()


if __name__ == "__main__":
    # A shell that starts the tests in the background has them ignore Ctrl-C, and what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stay_all(sys.argv[1], int(sys.argv[2]))
