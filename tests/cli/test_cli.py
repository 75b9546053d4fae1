import json
import re
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner

from blastscope import DISCLAIMER
from blastscope.cli import app, main
from blastscope.errors import BlastscopeError
from tests.conftest import draw_cell, write_cell
from tests.training.conftest import RECIPE


def blastscope(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    """Run the command line as a user would, and return status, output and notices."""
    monkeypatch.setattr(sys, "argv", ["blastscope", *map(str, arguments)])
    for cached in ("console", "notices"):
        getattr(sys.modules["blastscope.cli.output"], cached).cache_clear()
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    told = capsys.readouterr()
    return int(status), told.out, told.err


@pytest.fixture
def run(monkeypatch, capsys):
    return lambda *arguments: blastscope(monkeypatch, capsys, *arguments)


def test_help_names_every_verb_and_says_what_it_is_not():
    told = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    for verb in (
        "check", "synth", "prepare", "split", "recipes", "train", "evaluate", "compare", "errors",
        "ensemble", "reproduce", "predict", "submit", "weights", "demo",
    ):  # fmt: skip
        assert f" {verb} " in told
    assert DISCLAIMER in told


def test_help_imports_nothing_heavy():
    heavy = ("torch", "numpy", "cv2", "polars", "matplotlib", "sklearn", "pydantic", "PIL")
    code = (
        "import sys; import blastscope.cli;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_predicting_loads_no_library_of_plots_or_statistics():
    heavy = ("torch", "matplotlib", "sklearn")
    code = (
        "import sys, blastscope.api.predict, blastscope.api.inspect_bundle;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", ["check", "prepare", "split", "evaluate"])
def test_verbs_that_need_no_torch_import_none(verb, dataset, tmp_path):
    root = dataset()
    steps = {
        "check": ["check", str(root)],
        "prepare": ["prepare", str(root), "--out", str(tmp_path / "s"), "--size", "32"],
        "split": [
            "split",
            str(tmp_path / "names.csv"),
            "--protocol",
            "image",
            "--out",
            "o.parquet",
        ],
        "evaluate": ["evaluate", str(tmp_path / "p.csv")],
    }
    stems = sorted(path.name for path in root.rglob("*.bmp"))
    (tmp_path / "names.csv").write_text("file\n" + "\n".join(stems))
    rows = [f"{k},S{k},{'all' if k % 2 else 'hem'},test,m,{k / 9}" for k in range(9)]
    (tmp_path / "p.csv").write_text("cell,subject,label,part,model,p_all\n" + "\n".join(rows))
    code = (
        "import sys; from blastscope.cli import app\n"
        f"app({steps[verb]!r}, standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert result.stdout.splitlines()[-1] == "False"


def test_the_whole_way_by_hand(run, dataset, tmp_path):
    root, store, out = dataset(), tmp_path / "store", tmp_path / "run"
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    status, told, _ = run("check", root, "--json")
    assert (status, json.loads(told)["per_class"]) == (0, {"all": 20, "hem": 20})
    assert run("prepare", root, "--out", store, "--size", "32")[0] == 0
    status, told, _ = run("split", store, "--protocol", "subject", "--seed", "3")
    assert status == 0
    assert "train/test: 0 subjects in both" in told
    split = store / "splits" / "subject-seed3.parquet"
    arguments = (tmp_path / "tiny.yaml", "--store", store, "--split", split, "--out", out)
    status, told, notices = run("train", *arguments, "--set", "training.epochs=2")
    assert status == 0
    assert "test weighted F1 " in told
    assert "epoch 2 of at most 2" in notices
    status, told, _ = run("evaluate", out, "--part", "validation", "--out", tmp_path / "page")
    assert status == 0
    assert "weighted_f1" in told
    assert (tmp_path / "page" / "report.html").is_file()
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics["parts"]) == {"train", "validation", "test"}


def one_sentence(status: int, told: str, notices: str) -> str:
    assert status == 2
    assert "Traceback" not in notices
    lines = [line for line in notices.splitlines() if line.startswith("blastscope: ")]
    assert len(lines) == 1
    return lines[0]


def test_bad_input_is_one_sentence(run, dataset, tmp_path):
    root = dataset()
    (root / "fold_0" / "all" / "UID_60_1_1_all.bmp").touch()
    (root / "fold_1" / "hem" / "UID_H60_1_1_hem.bmp").write_text("text")
    for arguments in (("check", root), ("prepare", root, "--out", tmp_path / "store")):
        told = one_sentence(*run(*arguments))
        assert "UID_60_1_1_all.bmp is empty" in told
        assert "UID_H60_1_1_hem.bmp is not a BMP" in told
        assert "skip-bad" in told
    assert not (tmp_path / "store").exists()
    (tmp_path / "empty").mkdir()
    assert "holds no image" in one_sentence(*run("check", tmp_path / "empty"))
    assert "is not a folder" in one_sentence(*run("check", tmp_path / "nothing"))
    assert "is not a finished store" in one_sentence(
        *run("split", tmp_path / "empty", "--protocol", "image")
    )
    assert "does not exist" in one_sentence(*run("evaluate", tmp_path / "none.csv"))
    assert "no recipe" in one_sentence(*run("recipes", "paper/cnn-exp9"))


def test_one_class_only(run, tmp_path):
    for k in range(4):
        write_cell(tmp_path / "cells" / "all" / f"UID_{k}_1_1_all.bmp", draw_cell(k, 90, 20))
    assert "a model needs both" in one_sentence(*run("check", tmp_path / "cells"))
    assert run("prepare", tmp_path / "cells", "--out", tmp_path / "store", "--size", "32")[0] == 0
    told = one_sentence(*run("split", tmp_path / "store", "--protocol", "image"))
    assert "only cells labelled all" in told


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("training.optimizer=rms", "training.optimizer"),
        ("training.optimiser=adam", "training.optimiser"),
        ("training.rate=-1", "training.rate"),
    ],
)
def test_an_unknown_key_or_optimiser_stops_before_anything_is_made(run, tmp_path, setting, words):
    arguments = ("--store", tmp_path, "--split", tmp_path, "--out", tmp_path / "run")
    told = one_sentence(*run("train", "paper/cnn-exp2", *arguments, "--set", setting))
    assert words in told
    assert not (tmp_path / "run").exists()


def test_weights_that_are_nowhere(run, dataset, tmp_path):
    store = tmp_path / "store"
    run("prepare", dataset(), "--out", store, "--size", "64")
    run("split", store, "--protocol", "image")
    (tmp_path / "weights").mkdir()
    told = one_sentence(
        *run(
            "train",
            "paper/mobilenetv2-e3",
            *("--store", store, "--split", store / "splits" / "image-seed24.parquet"),
            *("--out", tmp_path / "run", "--weights-dir", tmp_path / "weights"),
            *("--set", "input.size=64"),
        )
    )
    assert "mobilenetv2_100.ra_in1k.safetensors" in told
    assert not (tmp_path / "run").exists()


def test_fetch_says_what_it_lacks(run, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    assert "not empty" in one_sentence(*run("fetch", tmp_path / "full"))
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    told = one_sentence(*run("fetch", tmp_path / "data"))
    assert "pip install 'blastscope[fetch]'" in told


def test_fetch_without_network_and_with(run, tmp_path, monkeypatch):
    class Kaggle:
        def dataset_download(self, handle):
            assert handle == "andrewmvd/leukemia-classification"
            raise ConnectionError("no route to host\nmore")

    monkeypatch.setitem(sys.modules, "kagglehub", Kaggle())
    told = one_sentence(*run("fetch", tmp_path / "data"))
    assert "(no route to host)" in told
    assert not (tmp_path / "data").exists()
    cached = tmp_path / "cache"
    write_cell(cached / "all" / "UID_1_1_1_all.bmp", draw_cell(0, 90, 20))
    monkeypatch.setattr(Kaggle, "dataset_download", lambda self, handle: str(cached))
    status, told, _ = run("fetch", tmp_path / "data")
    assert status == 0
    assert "CC BY 3.0" in told
    assert (tmp_path / "data" / "all" / "UID_1_1_1_all.bmp").is_file()


def test_synth_then_check(run, tmp_path):
    assert run("synth", tmp_path / "cells", "--cells", "60", "--subjects", "9")[0] == 0
    status, told, _ = run("check", tmp_path / "cells")
    assert status == 0
    assert "60 synthetic cells, 9 subjects" in told
    assert "cells" in one_sentence(*run("synth", tmp_path / "cells"))


def test_interrupting_says_how_to_go_on(run, dataset, tmp_path, monkeypatch):
    from blastscope.data import preparation

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation, "_fill", interrupt)
    status, _, notices = run("prepare", dataset(), "--out", tmp_path / "store")
    assert status == 130
    assert "interrupted; prepare, normalize-stain, segment, predict, train, crossval," in notices


def test_a_closed_pipe_is_no_error(dataset):
    command = f"{sys.executable} -m blastscope check {dataset(6, 6)} | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr
    assert "72 cells" in result.stdout


def test_the_report_of_the_test_part_keeps_its_place(run, tmp_path):
    rows = [
        f"{k},S{k},{k % 2},{part},m,{k / 9}" for part in ("test", "validation") for k in range(9)
    ]
    rows = [f"{part}{row}" for part, row in zip("t" * 9 + "v" * 9, rows, strict=True)]
    (tmp_path / "p.csv").write_text("cell,subject,label,part,model,p_all\n" + "\n".join(rows))
    assert run("evaluate", tmp_path / "p.csv")[0] == 0
    before = (tmp_path / "p-evaluation" / "report.html").read_bytes()
    assert run("evaluate", tmp_path / "p.csv", "--part", "validation")[0] == 0
    assert (tmp_path / "p-evaluation" / "report.html").read_bytes() == before
    assert (tmp_path / "p-evaluation-validation" / "report.html").is_file()
    (tmp_path / "semi.csv").write_text("cell;subject;label;part;model;p_all\na;b;1;test;m;0.5\n")
    assert run("evaluate", tmp_path / "semi.csv")[0] == 0


def test_predictions_of_somebody_else(run, tmp_path):
    rng = np.random.default_rng(1)
    label = rng.random(80) < 0.6
    frame = pl.DataFrame(
        {
            "cell": [f"c{k}" for k in range(80)],
            "subject": [None] * 80,
            "label": ["1" if value else "0" for value in label],
            "part": ["test"] * 80,
            "model": ["theirs"] * 80,
            "p_all": np.clip(label * 0.5 + rng.random(80) * 0.5, 0, 1),
        }
    )
    frame.write_csv(tmp_path / "theirs.csv")
    status, told, _ = run("evaluate", tmp_path / "theirs.csv")
    assert status == 0
    assert "theirs" in told
    metrics = json.loads((tmp_path / "theirs-evaluation" / "metrics.json").read_text())
    called = frame["p_all"].to_numpy() > 0.5
    assert metrics["parts"]["test"]["tp"] == int((called & label).sum())
    assert metrics["parts"]["test"]["n_subjects"] is None
    assert list((tmp_path / "theirs-evaluation" / "figures").glob("*.svg"))
    assert "worst first" not in told  # nobody's cells are known


def test_evaluate_prints_the_five_worst_subjects(run, tmp_path):
    """Subject k of seven, with ten cells each, has k cells right."""
    rows = [
        {
            "cell": f"c{k}-{n}",
            "subject": f"{'A' if k % 2 else 'H'}{k}",
            "label": "all" if k % 2 else "hem",
            "part": "test",
            "model": "net",
            "p_all": 0.9 if (n < k) == bool(k % 2) else 0.1,
        }
        for k in range(7)
        for n in range(10)
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "p.csv")
    status, told, _ = run("evaluate", tmp_path / "p.csv")
    assert status == 0
    lines = [line.split() for line in told.splitlines()]
    worst = [words for words in lines if words and re.fullmatch(r"[AH]\d", words[0])]
    assert [words[0] for words in worst] == ["H0", "A1", "H2", "A3", "H4"]
    theirs = binomtest(3, 10).proportion_ci(method="wilson")
    ends = [f"{theirs.low:.3f}", "to", f"{theirs.high:.3f}"]
    assert worst[3] == ["A3", "ALL", "10", "0.3000", *ends]
    assert worst[2][1] == "normal"


def test_what_is_missing_is_named():
    done = CliRunner().invoke(app, ["segment", "fields"])
    assert done.exit_code == 2
    assert "Missing option '--out'" in done.output


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["predict", "cells", "--shard-cells", "9", "--out", "o", "--masks", "m"], "--masks"),
        (["predict", "cells", "--out", "-", "--um-per-pixel", "0.1"], "--um-per-pixel"),
        (["ensemble", "folds", "--of-folds", "--out", "o", "--fit", "test"], "--fit"),
        (["ensemble", "folds", "--of-folds", "--out", "o", "--nested"], "--nested"),
        (["ensemble", "folds", "--of-folds", "--out", "o", "--store", "s"], "--store"),
        (["ensemble", "folds", "--of-folds", "--out", "o", "--seed", "3"], "--seed"),
        (["ensemble", "folds", "--of-folds", "--out", "o", "--resamples", "500"], "--resamples"),
        (["recipes", "--set", "training.epochs=3"], "--set"),
        (["submit", "p.csv", "--out", "o", "--device", "cpu"], "--device"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(words, option):
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, BlastscopeError)
    assert option in str(done.exception)
