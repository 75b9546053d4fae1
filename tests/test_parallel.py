"""Workers: results, a death that takes one task, and an end that leaves nobody behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from blastscope.parallel import LostTask, ProcessCrew, cores, duration, progress_total
from blastscope.training.display import TrainingDisplay
from tests.conftest import REPOSITORY
from tests.labour import obey

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").is_file(), reason="no /proc to see processes in"
)


def lives(pid):
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def begun(folder):
    """The process of each task that was begun, by the task's number."""
    return {int(path.stem): int(path.suffix[1:]) for path in folder.iterdir()}


def test_one_process_does_several_tasks():
    with ProcessCrew(obey, 1) as crew:
        assert crew.free
        crew.start("a")
        assert not crew.free
        ((task, first),) = crew.finished()
        crew.start("b")
        ((_, second),) = crew.finished()
        assert crew.finished() == []
    pids = {int(answer.split()[1]) for answer in (first, second)}
    assert task == "a"
    assert len(pids) == 1
    assert os.getpid() not in pids
    assert not any(map(lives, pids))


def test_a_death_takes_its_own_task_and_no_other():
    with ProcessCrew(obey, 2) as crew:
        crew.start("die")
        crew.start("a")
        found = dict([*crew.finished(), *crew.finished()])
        assert found["die"] == LostTask(-signal.SIGKILL)
        assert "signal 9, perhaps because memory ran out" in str(found["die"])
        assert found["a"].startswith("a ")
        crew.start("raise what nobody foresaw")
        crew.start("b")
        found = dict([*crew.finished(), *crew.finished()])
        assert found["raise what nobody foresaw"] == LostTask(1)
        assert found["b"].startswith("b ")


def test_an_interrupt_ends_workers_at_once(tmp_path):
    with pytest.raises(KeyboardInterrupt), ProcessCrew(obey, 1) as crew:  # noqa: PT012
        crew.start(f"stay {tmp_path}/0")
        wait_until(lambda: begun(tmp_path))
        assert lives(begun(tmp_path)[0])
        raise KeyboardInterrupt
    assert not lives(begun(tmp_path)[0])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nobody_is_left_behind_and_nothing_more_is_begun(tmp_path, how):
    """Ctrl-C goes to the whole group of processes; a kill to the first of them alone."""
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.labour", str(tmp_path), "6"],
        cwd=REPOSITORY,
        start_new_session=True,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: len(begun(tmp_path)) == 2)
    workers = begun(tmp_path).values()
    assert all(map(lives, workers))
    if how == signal.SIGINT:
        os.killpg(parent.pid, how)
    else:
        parent.kill()
    assert parent.wait(20) == -how
    wait_until(lambda: not any(map(lives, workers)))
    assert begun(tmp_path).keys() == {0, 1}
    told = parent.stderr.read().decode()
    assert told.count("Traceback") == (how == signal.SIGINT)  # the parent's own


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    usual = cores()
    assert 1 <= usual <= (os.cpu_count() or 1)
    monkeypatch.setenv("BLASTSCOPE_THREADS", "1")
    assert cores() == 1
    monkeypatch.setenv("BLASTSCOPE_THREADS", "1000")
    assert cores() == usual


@pytest.mark.parametrize(("told", "last"), [([(1, 3), (2, 3)], "3/3"), ([(3, 3)], "3/3")])
def test_a_bar_ends_at_its_total(monkeypatch, capsys, told, last):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_total("Counting") as advance:
        for tick in told:
            advance(*tick)
    counts = re.findall(r"\d+/[\d?]+", capsys.readouterr().err)
    assert counts[-1] == last


def test_a_bar_that_was_told_nothing_goes_and_one_that_failed_stays_where_it_was(
    monkeypatch, capsys
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_total("Counting"):
        pass
    assert "\x1b[2K" in capsys.readouterr().err.rpartition("0/?")[2]  # its line is erased
    with suppress(KeyError), progress_total("Counting") as advance:
        advance(1, 3)
        raise KeyError
    assert re.findall(r"\d+/[\d?]+", capsys.readouterr().err)[-1] == "1/3"


def test_a_trainings_bar_is_full_after_its_last_epoch():
    display = TrainingDisplay("a")
    watch = display.watch()
    watch.on_begin(0, 4, 2)
    row = dict.fromkeys(("seconds", "train_loss", "train_accuracy", "val_loss"), 0.5)
    for epoch in (1, 2):
        for _ in range(4):
            watch.on_batch(8, 0.5)
        watch.on_epoch({**row, "val_accuracy": 0.5, "epoch": epoch})
        done = 0 if epoch == 1 else 4
        assert (display.bar.tasks[0].completed, display.bar.tasks[0].total) == (done, 4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45, "45 s"), (89.4, "89 s"), (720, "12 min"), (3599.9, "1 h 00 min"), (11100, "3 h 05 min")],
)
def test_durations_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text
