"""The runner: order, failures, deaths, interrupts, the same here and in processes; its progress."""

from __future__ import annotations

import signal

import pytest

from blastscope.experiments.progress import JobsProgress
from blastscope.experiments.runner import Failure, Outcomes, run_jobs
from tests.labour import Errand, run_errand

CHAIN = (
    Errand("a", "one"),
    Errand("b", "two", "a"),
    Errand("c", "three", "b"),
    Errand("d", "four"),
    Errand("e", "five", "elsewhere"),
)


@pytest.mark.parametrize("processes", [1, 2])
def test_each_job_runs_once_and_after_the_one_that_it_needs(processes):
    told = []
    done = run_jobs(CHAIN, run_errand, processes, on_done=lambda job, *_: told.append(job.key))
    assert sorted(told) == ["a", "b", "c", "d", "e"]
    assert told.index("a") < told.index("b") < told.index("c")
    assert done.results == {"a": "one", "b": "two", "c": "three", "d": "four", "e": "five"}
    assert not done.failures


@pytest.mark.parametrize(
    ("task", "processes", "reason"),
    [
        ("raise no good", 1, "RuntimeError: no good"),
        ("raise no good", 2, "RuntimeError: no good"),
        ("die", 2, f"its process was ended by signal {signal.SIGKILL:d}"),
    ],
)
def test_a_failure_or_a_death_takes_only_what_needs_it(task, processes, reason):
    done = run_jobs((Errand("a", task), *CHAIN[1:]), run_errand, processes)
    assert done.results.keys() == {"d", "e"}
    assert done.failures["a"].reason.startswith(reason)
    assert done.failures["b"] == Failure("a, which it starts from, failed")
    assert done.failures["c"] == Failure("b, which it starts from, failed")


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupt_leaves_what_is_done(processes):
    def stop(job, outcome, seconds):
        raise KeyboardInterrupt

    done = Outcomes()
    with pytest.raises(KeyboardInterrupt):
        run_jobs(CHAIN, run_errand, processes, on_done=stop, outcomes=done)
    assert len(done.results) == 1


def test_no_job_is_no_work():
    assert run_jobs((), run_errand, 2) == Outcomes()


def test_progress_counts_and_foretells(monkeypatch):
    """Of 40 estimated seconds 10 have taken 20, so that the other 30 will take 60."""
    clock = iter([100.0, 120.0, 180.0])
    monkeypatch.setattr("blastscope.experiments.progress.time.perf_counter", lambda: next(clock))
    lines, jobs = [], (Errand("a", "one"), Errand("b", "two"))
    with JobsProgress(jobs, lines.append, already=3, seconds={"a": 10, "b": 30}) as progress:
        progress.tell(jobs[0], "AUC .9", 20.0)
        progress.tell(jobs[1], Failure("no room"), 60.0)
    assert lines == [
        "3 of 5 are done already.",
        "[4 of 5] a: AUC .9 (20 s; about 60 s left)",
        "[5 of 5] b: no room (60 s; all done)",
    ]
