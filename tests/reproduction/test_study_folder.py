"""A study's folder: never another's, never of other cells."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import polars as pl
import pytest

from blastscope.api.reproduction_report import data_section
from blastscope.data.split_table import read_split
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, write_json
from blastscope.recipes.library import load_recipe
from blastscope.reproduction.outcomes import _seeds, is_done, outcomes
from blastscope.reproduction.plan import StudyJob, StudyPlan
from blastscope.reproduction.study_folder import prepare_cells, study_folder, whole_stores
from tests.conftest import draw_cell, write_cell
from tests.reproduction.conftest import run_plan


def files(folder):
    """Every file under a folder, with its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(study, jobs=None, why="is a reproduction study that differs in cells"):
    """Prepare a study's cells, which is refused in one sentence without a word of force."""
    with pytest.raises(BlastscopeError, match=why) as caught:
        prepare_cells(study.data, study.location.out, jobs or study.plan.jobs, None)
    assert "force" not in str(caught.value)
    return str(caught.value)


def test_a_study_of_fewer_cells_is_refused_and_left_as_it_was(tiny, dataset, tmp_path):
    before = files(tiny.location.out)
    dataset(per_subject=6)  # a cell more of each subject and class
    assert "choose another folder" in refused(tiny)
    # Another size would be a new store, and the old split.
    larger = load_recipe(str(tmp_path / "first.yaml"), ["input.size=48"])
    refused(tiny, [StudyJob(larger, "image", 24)])
    shutil.rmtree(tiny.location.out / "stores")
    refused(tiny)
    assert not (tiny.location.out / "stores").exists()
    assert files(tiny.location.out).items() <= before.items()


def test_runs_of_other_pixels_are_refused_where_the_store_was_removed(tiny):
    out, (first, *_) = tiny.location.out, tiny.plan.jobs
    run_plan(StudyPlan((first,), {}), tiny.location)
    assert is_done(first, out)
    cell = next(tiny.data.rglob("*.bmp"))
    own, time = cell.read_bytes(), cell.stat().st_mtime_ns
    write_cell(cell, draw_cell(99, 120, 25))
    refused(tiny)
    shutil.rmtree(out / "stores")
    assert is_done(first, out)  # nothing is there to hold it against
    refused(tiny)
    assert not first.store(out).exists()
    cell.write_bytes(own)
    os.utime(cell, ns=(time, time))
    prepare_cells(tiny.data, out, tiny.plan.jobs, None)
    assert is_done(first, out)


def test_a_run_counts_only_with_the_cells_and_the_split_that_are_there(tiny):
    out, (first, *_) = tiny.location.out, tiny.plan.jobs
    run_plan(StudyPlan((first,), {}), tiny.location)
    environment = first.run(out) / "environment.json"
    own = read_json(environment)
    for key in ("store", "split"):
        write_json(environment, {**own, "identity": {**own["identity"], key: "another"}})
        assert not is_done(first, out)
    write_json(environment, own)
    assert is_done(first, out)


def test_a_split_with_a_subject_in_two_parts_is_refused(tiny):
    job = StudyJob(tiny.plan.jobs[0].recipe, "subject", 24)
    prepare_cells(tiny.data, tiny.location.out, [job], None)
    # As if the subjects had been put right since, and the stores made anew.
    split = read_split(job.split(tiny.location.out))
    first = pl.col("cell") == split.table["cell"][0]
    moved = pl.when(pl.col("part") == "train").then(pl.lit("test")).otherwise(pl.lit("train"))
    table = split.table.with_columns(pl.when(first).then(moved).otherwise("part").alias("part"))
    job.split(tiny.location.out).unlink()
    replace(split, table=table).write(job.split(tiny.location.out))
    refused(tiny, [job], "has subjects in both")


def test_a_damaged_store_is_told_to_be_removed(tiny):
    store = tiny.plan.jobs[0].store(tiny.location.out)
    (store / "pixels.npy").write_bytes(b"no pixels")
    assert "remove it" in refused(tiny, why=f"{store} is damaged")


def test_what_is_no_study_is_refused_before_anything_is_written(tiny, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "results.md").write_text("my own")
    with pytest.raises(BlastscopeError, match=r"is not a reproduction study and holds results\.md"):
        prepare_cells(tiny.data, mine, tiny.plan.jobs, None)
    (mine / "study.json").write_text("{}")
    before = files(mine)
    with pytest.raises(BlastscopeError, match=r"study\.json is not a blastscope-study/2 file"):
        prepare_cells(tiny.data, mine, tiny.plan.jobs, None)
    assert files(mine) == before


@pytest.mark.parametrize("there", [False, True])
def test_a_study_whose_cells_are_corrected_may_begin_in_the_same_folder(tiny, tmp_path, there):
    cell, out = next(tiny.data.rglob("*.bmp")), tmp_path / "other"
    own = cell.read_bytes()
    cell.write_bytes(own[:500])
    if there:
        out.mkdir()
    with pytest.raises(BlastscopeError, match=cell.name):
        prepare_cells(tiny.data, out, tiny.plan.jobs, None)
    assert out.exists() == there
    assert not there or not list(out.iterdir())
    cell.write_bytes(own)
    prepare_cells(tiny.data, out, tiny.plan.jobs, None)
    # What is there already is kept if the cells cannot be read later.
    shutil.rmtree(out / "stores")
    (out / "runs").mkdir()
    time = cell.stat().st_mtime_ns
    cell.write_bytes(own[:2] + bytes(len(own) - 2))
    os.utime(cell, ns=(time, time))
    with pytest.raises(BlastscopeError, match=cell.name):
        prepare_cells(tiny.data, out, tiny.plan.jobs, None)
    assert (out / "study.json").is_file()


def test_a_study_is_known_by_its_marker(tiny):
    out = tiny.location.out
    content = read_json(out / "study.json")
    assert content.keys() == {"format", "identity", "provenance"}
    assert content["format"] == "blastscope-study/2"
    (out / "notes.txt").touch()
    for folder in ("stores", "splits"):
        shutil.rmtree(out / folder)
    assert study_folder(tiny.data, out).recorded() == content
    (out / "study.json").unlink()
    with pytest.raises(BlastscopeError, match=r"holds notes\.txt"):
        study_folder(tiny.data, out).recorded()


def test_the_report_describes_a_whole_store(tiny):
    """Also where an interrupted preparation left what looks like one, first in the alphabet."""
    out, job = tiny.location.out, tiny.plan.jobs[0]
    shutil.copytree(job.store(out), out / "stores" / ".10-crop.partial")
    (out / "stores" / "11-crop").mkdir()
    assert [store.path for store in whole_stores(out)] == [job.store(out)]
    section, synthetic = data_section(tiny.data, out, ["image"])
    assert section.facts[0] == ("Cells", "40")
    assert not synthetic
    shutil.copytree(job.store(out), out / "stores" / "12-crop")
    (out / "stores" / "12-crop" / "store.json").unlink()
    assert data_section(tiny.data, out, ["image"], [job])[0].facts[0] == ("Cells", "40")
    shutil.rmtree(out / "stores")
    with pytest.raises(BlastscopeError, match="has no store"):
        data_section(tiny.data, out, ["image"])


def test_folders_of_other_names_are_no_seeds(tiny):
    for name in ("subject-seed24-old", "image-seed", "other-seed30", "subject-seed31"):
        (tiny.location.out / "runs" / name).mkdir(parents=True)
    assert _seeds(tiny.location.out, set()) == [24, 31]
    # And a seed that has a folder but no run of an experiment says nothing of that experiment.
    assert {outcome.seed for outcome in outcomes(tiny.location.out, tiny.plan)} == {24}
