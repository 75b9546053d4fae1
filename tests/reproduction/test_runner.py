"""Running a plan: its order, a kill at any experiment, failures, several at a time."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from blastscope.experiments.runner import Outcomes
from blastscope.io.files import read_json, remove_folder, sha256_of, write_json
from blastscope.recipes.library import load_recipe
from blastscope.reproduction import runner
from blastscope.reproduction.outcomes import is_done, is_evaluated
from blastscope.reproduction.plan import StudyJob, StudyPlan
from blastscope.training.run_folder import save_checkpoint
from blastscope.training.trainer import TrainingWatch
from tests.reproduction.conftest import run_plan


def predicted(study):
    """Every run's probabilities."""
    runs = [job.run(study.location.out) for job in study.plan.jobs]
    return [pl.read_parquet(runner / "predictions.parquet")["p_all"].to_numpy() for runner in runs]


def test_every_job_is_done_once_and_behind_its_beginning(tiny):
    told = []
    done = run_plan(
        tiny.plan, tiny.location, on_done=lambda job, line, _: told.append(job.recipe.name)
    )
    assert sorted(told) == ["alone", "first", "second", "third"]
    assert told.index("first") < told.index("second") < told.index("third")
    assert not done.failures
    assert all("weighted F1" in line for line in done.results.values())
    assert all(is_evaluated(job.run(tiny.location.out)) for job in tiny.plan.jobs)
    again = run_plan(tiny.plan, tiny.location)
    assert not again.results


_WHOLE: list[np.ndarray] = []


@pytest.fixture
def whole(tiny):
    """The outcome of the study when nothing comes between; the same every time, so made once."""
    if not _WHOLE:
        study = tiny.elsewhere("whole")
        run_plan(study.plan, study.location)
        _WHOLE.extend(predicted(study))
    return _WHOLE


@pytest.mark.parametrize("killed", range(4))
def test_a_kill_at_any_experiment_costs_none_that_was_done(tiny, whole, killed):
    seen = []

    def watch(job):
        seen.append(job.key)

        def stop(row):
            if len(seen) == killed + 1:
                raise KeyboardInterrupt

        return TrainingWatch(on_epoch=stop)

    with pytest.raises(KeyboardInterrupt):
        run_plan(tiny.plan, tiny.location, watch=watch)
    runs = [job.run(tiny.location.out) for job in tiny.plan.jobs]
    done = [runner for runner in runs if is_evaluated(runner)]
    assert len(done) == killed
    before = [(runner / "predictions.parquet").stat().st_mtime_ns for runner in done]
    trained = []
    run_plan(tiny.plan, tiny.location, on_done=lambda job, line, _: trained.append(job.key))
    left = {job.key for job in tiny.plan.jobs if job.run(tiny.location.out) not in done}
    assert sorted(trained) == sorted(left)
    assert before == [(runner / "predictions.parquet").stat().st_mtime_ns for runner in done]
    for mine, theirs in zip(predicted(tiny), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_kill_between_training_and_report_trains_nothing_again(tiny):
    run_plan(tiny.plan, tiny.location)
    made = tiny.plan.jobs[0].run(tiny.location.out)
    (made / "report.html").unlink()
    trained = (made / "checkpoint.safetensors").stat().st_mtime_ns
    done = run_plan(tiny.plan, tiny.location)
    assert list(done.results) == [tiny.plan.jobs[0].key]
    assert (made / "report.html").is_file()
    assert (made / "checkpoint.safetensors").stat().st_mtime_ns == trained


def test_a_failure_takes_only_what_starts_from_it(tiny, tmp_path):
    wrong = load_recipe(str(tmp_path / "second.yaml"), ["training.layer_decay=0.5"])
    first, _, third, alone = tiny.plan.jobs
    plan = StudyPlan((first, StudyJob(wrong, "image", 24), third, alone), {})
    done = run_plan(plan, tiny.location)
    assert {name for name, _, _ in done.results} == {"first", "alone"}
    assert "layer_decay needs a whole network" in done.failures["second", "image", 24].reason
    assert done.failures["third", "image", 24].reason == "second, which it starts from, failed"


def test_whatever_a_job_dies_of_is_its_own_failure(tiny, monkeypatch):
    def out_of_memory(job, watch=None, *, location, evaluate):
        if job.recipe.name == "second":
            raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")
        return "figures"

    monkeypatch.setattr(runner, "run_job", out_of_memory)
    done = run_plan(tiny.plan, tiny.location)
    assert {name for name, _, _ in done.results} == {"first", "alone"}
    assert {key: failure.reason for key, failure in done.failures.items()} == {
        ("second", "image", 24): "RuntimeError: CUDA out of memory.",
        ("third", "image", 24): "second, which it starts from, failed",
    }


def test_what_was_noted_before_an_interrupt_is_there_behind_it(tiny, monkeypatch):
    def interrupted(job, watch=None, *, location, evaluate):
        if job.recipe.name == "first":
            raise ValueError("no good")
        if job.recipe.name == "alone":
            raise KeyboardInterrupt
        return "figures"

    monkeypatch.setattr(runner, "run_job", interrupted)
    done = Outcomes()
    with pytest.raises(KeyboardInterrupt):
        run_plan(tiny.plan, tiny.location, outcomes=done)
    assert done.failures["first", "image", 24].reason == "ValueError: no good"
    assert done.failures["third", "image", 24].reason == "second, which it starts from, failed"
    assert not done.results


def test_a_run_whose_beginning_was_trained_again_is_not_done(tiny):
    first, second, *_ = tiny.plan.jobs
    out = tiny.location.out
    run_plan(StudyPlan((first, second), {}), tiny.location)
    assert is_done(second, out)
    # As if it had been trained on another machine: the weights, and all that tells of them.
    begun, environment = first.run(out), first.run(out) / "environment.json"
    save_checkpoint({"other": torch.zeros(1)}, begun / "checkpoint.safetensors")
    other = sha256_of(begun / "checkpoint.safetensors")
    write_json(environment, {**read_json(environment), "checkpoint": other})
    assert not is_done(second, out)
    done = run_plan(StudyPlan((second,), {}), tiny.location)
    said = done.failures["second", "image", 24].reason
    assert said.startswith(f"{second.run(out)} started from another training of first")
    assert "remove it" in said
    remove_folder(begun)  # it will be trained again, to who knows what
    assert not is_done(second, out)


@pytest.mark.slow
def test_two_at_a_time_come_to_the_same(tiny, whole, monkeypatch):
    monkeypatch.setattr("blastscope.experiments.runner.cores", lambda: 2)  # a thread for each
    told = []
    done = run_plan(
        tiny.plan, tiny.location, 2, on_done=lambda job, line, _: told.append(job.key[0])
    )
    assert not done.failures
    assert told.index("first") < told.index("second") < told.index("third")
    for mine, theirs in zip(predicted(tiny), whole, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
