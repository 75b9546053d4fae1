"""A path is a path: ``[``, ``]`` and ``~`` have no other meaning, in any verb."""

from __future__ import annotations

import shutil

import pytest

from blastscope.api.bundle import make_bundle as bundle
from blastscope.api.compare import compare
from blastscope.api.evaluate import evaluate
from blastscope.api.fit_ensemble import fit_ensemble
from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings
from blastscope.evaluation.sources import open_source
from blastscope.prediction.inputs import list_inputs
from blastscope.prediction.predict import predict


@pytest.fixture
def study(trained, tmp_path, monkeypatch):
    """The working folder, ``study [2024]``: two runs whose names are a pattern and its match."""
    folder = tmp_path / "study [2024]"
    shutil.copytree(trained.run, folder / "run[1]")
    shutil.copytree(trained.other, folder / "run1")
    names = sorted(trained.images, key=lambda name: name.rsplit("_", 1)[1])
    for name in names[:2] + names[-2:]:  # two of each class
        (folder / "~cells").mkdir(exist_ok=True)
        shutil.copy(trained.images[name], folder / "~cells")
    monkeypatch.chdir(folder)
    return folder


def test_runs_are_read_by_their_own_names(trained, study):
    first, second = (open_source(study / name) for name in ("run[1]", "run1"))
    assert first.metadata["checkpoint"] != second.metadata["checkpoint"]
    for where in ("run[1]", str(study / "run[1]"), "run[1]/predictions.parquet"):
        assert evaluate(where).metrics == evaluate(trained.run).metrics
    pair = compare({"a": "run[1]", "b": "run1"}, out="~cmp[1]")
    alone = {"a": trained.run, "b": trained.other}
    assert pair.estimates == compare(alone).estimates
    assert (study / "~cmp[1]" / "report.html").is_file()
    combined = fit_ensemble({"a": "run[1]", "b": "run1"}, out="ens[1]", method="mean")
    assert combined.to_frame().equals(fit_ensemble(alone, method="mean").to_frame())


def test_cells_and_models_are_found_there(trained, study):
    made = predict(["~cells"], [study / "run[1]"], study / "~new[1].csv", device="cpu")
    assert made.frame["p_all"].to_list() == pytest.approx(
        [trained.p_all(trained.run)[cell] for cell in made.frame["cell"]], abs=1e-5
    )
    assert (study / "~new[1].csv").is_file()
    bundle("run[1]", "~net[1].zip")
    again = predict(["~cells"], [study / "~net[1].zip"], study / "p.parquet")
    assert again.frame["p_all"].to_list() == pytest.approx(made.frame["p_all"].to_list(), abs=1e-5)


def test_a_pattern_below_such_a_folder_is_one_and_a_file_twice_is_listed_once(study):
    for pattern in (str(study / "~cells" / "*.bmp"), str(study / "*cells" / "*_all.bmp")):
        found = list_inputs([pattern])
        assert 0 < len(found.images) <= 4
    files = sorted((study / "~cells").iterdir())
    assert len(list_inputs([files[0], files[0], files[1]]).images) == 2


def test_a_store_and_a_split_are_written_there(study):
    store = prepare([study / "~cells"], study / "~store[1]", StoreSettings(size=32)).path
    path, report = make_split(store, "image", 1, (0.5, 0.25, 0.25), out=study / "~split[1].parquet")
    assert path.name == "~split[1].parquet"
    assert sum(sum(part.values()) for part in report.cells.values()) == 4
