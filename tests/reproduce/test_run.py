"""Running a plan: its order, a kill at any experiment, failures, several at a time."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from blastscope.recipes.library import load_recipe
from blastscope.reproduce.outcomes import is_evaluated
from blastscope.reproduce.plan import Job, Plan
from blastscope.reproduce.run import run_plan
from blastscope.train.fit import Watch


def predicted(study):
    """Every run's probabilities."""
    runs = [job.run(study.place.out) for job in study.plan.jobs]
    return [pl.read_parquet(run / "predictions.parquet")["p_all"].to_numpy() for run in runs]


def test_every_job_is_done_once_and_behind_its_beginning(tiny):
    told = []
    done = run_plan(
        tiny.plan, tiny.place, on_done=lambda job, line, _: told.append(job.recipe.name)
    )
    assert sorted(told) == ["alone", "first", "second", "third"]
    assert told.index("first") < told.index("second") < told.index("third")
    assert not done.failed
    assert all("weighted F1" in line for line in done.headlines.values())
    assert all(is_evaluated(job.run(tiny.place.out)) for job in tiny.plan.jobs)
    again = run_plan(tiny.plan, tiny.place)
    assert not again.headlines


@pytest.fixture
def whole(tiny):
    """The outcome of the study when nothing comes between."""
    study = tiny.elsewhere("whole")
    run_plan(study.plan, study.place)
    return predicted(study)


@pytest.mark.parametrize("killed", range(4))
def test_a_kill_at_any_experiment_costs_none_that_was_done(tiny, whole, killed):
    seen = []

    def watch(job):
        seen.append(job.key)

        def stop(row):
            if len(seen) == killed + 1:
                raise KeyboardInterrupt

        return Watch(on_epoch=stop)

    with pytest.raises(KeyboardInterrupt):
        run_plan(tiny.plan, tiny.place, watch=watch)
    runs = [job.run(tiny.place.out) for job in tiny.plan.jobs]
    done = [run for run in runs if is_evaluated(run)]
    assert len(done) == killed
    before = [(run / "predictions.parquet").stat().st_mtime_ns for run in done]
    trained = []
    run_plan(tiny.plan, tiny.place, on_done=lambda job, line, _: trained.append(job.key))
    left = {job.key for job in tiny.plan.jobs if job.run(tiny.place.out) not in done}
    assert sorted(trained) == sorted(left)
    assert before == [(run / "predictions.parquet").stat().st_mtime_ns for run in done]
    for mine, theirs in zip(predicted(tiny), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_kill_between_training_and_report_trains_nothing_again(tiny):
    run_plan(tiny.plan, tiny.place)
    run = tiny.plan.jobs[0].run(tiny.place.out)
    (run / "report.html").unlink()
    trained = (run / "checkpoint.safetensors").stat().st_mtime_ns
    done = run_plan(tiny.plan, tiny.place)
    assert list(done.headlines) == [tiny.plan.jobs[0].key]
    assert (run / "report.html").is_file()
    assert (run / "checkpoint.safetensors").stat().st_mtime_ns == trained


def test_a_failure_takes_only_what_starts_from_it(tiny, tmp_path):
    wrong = load_recipe(str(tmp_path / "second.yaml"), ["training.layer_decay=0.5"])
    first, _, third, alone = tiny.plan.jobs
    plan = Plan((first, Job(wrong, "image", 24), third, alone), {})
    done = run_plan(plan, tiny.place)
    assert {name for name, _, _ in done.headlines} == {"first", "alone"}
    assert "layer_decay needs a whole network" in done.failed["second", "image", 24]
    assert done.failed["third", "image", 24] == "second, which it starts from, failed"


@pytest.mark.slow
def test_two_at_a_time_come_to_the_same(tiny, whole):
    told = []
    done = run_plan(tiny.plan, tiny.place, 2, on_done=lambda job, line, _: told.append(job.key[0]))
    assert not done.failed
    assert told.index("first") < told.index("second") < told.index("third")
    for mine, theirs in zip(predicted(tiny), whole, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
