from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest

from blastscope import DISCLAIMER
from blastscope.api.evaluate import evaluate
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import read_predictions, write_predictions
from blastscope.recipes.library import load_recipe
from blastscope.report.reproduction_page import Outcome, results_markdown
from blastscope.reproduction.results import read_experiments
from tests.report.reproduction_runs import Make, body, finished_run, recipe, row_of, rows, write

NETWORK = {
    "layers": [
        {"name": "conv1", "type": "Conv2d", "output": [8, 4, 4], "parameters": 7, "trainable": 7}
    ],
    "total": 2027329,
    "trainable": 131585,
}


@pytest.fixture
def run(tmp_path: Path) -> Make:
    return partial(finished_run, tmp_path)


def test_a_real_run_and_its_page(tmp_path, make_run):
    """A run that ``evaluate`` itself judged: what it wrote stands on the page."""
    folder = make_run()
    frame, note = read_predictions(folder / "predictions.parquet")
    frame = frame.with_columns(model=pl.lit("tiny"))
    write_predictions(frame, folder / "predictions.parquet", {**note, "synthetic": False})
    (folder / "network.json").write_text(json.dumps(NETWORK))
    evaluate(folder, out=folder)
    metrics = json.loads((folder / "metrics.json").read_text())["parts"]["test"]
    html = write([Outcome(recipe(), "subject", 24, folder)], tmp_path / "study")
    text = body(html)
    # Two ALL right, two normal wrong, two right: F1 2·2/6 for each class.
    assert metrics["weighted_f1"] == pytest.approx(2 / 3)
    assert row_of(html, "cnn-exp2") == [
        "3.2.2", "0.9076", "not run: not part of this reproduction", "0.6667", "–", "1.0000", "–",
    ]  # fmt: skip
    tables = rows(html)
    # The lowest validation loss of the history is its second epoch's.
    assert "0.5000 0.7000 0.4000 0.8000" in text
    assert tables["the paper"] == ["0.2136", "0.9140", "0.2436", "0.8987"]
    assert "0.8754 0.9230 0.8376 0.9422 0.9076 0.95" in text
    # By hand: precision of normal 2/2, of ALL 2/4; recall of normal 2/4, of ALL 2/2.
    assert "1.0000 0.5000 0.5000 1.0000 0.6667 1.0000" in text
    assert "2,027,329 parameters, 131,585 of them trained" in text
    assert tables["conv1"] == ["Conv2d", "8 × 4 × 4", "7", "7"]
    assert "the best being the 28th" in text
    for name in ("Learning curves", "Confusion matrix", "ROC curve"):
        assert f'alt="{name} of cnn-exp2, subject-disjoint split"' in html
    assert html.count("data:image/png;base64,") == 4  # with the figure of the data
    links = re.findall(r'href="([^#"]+report\.html)"', html)
    assert [(tmp_path / "study" / unquote(link)).resolve() for link in links] == [
        (folder / "report.html").resolve()
    ]


def test_figures_differences_and_time(tmp_path, run):
    a, b = recipe(), recipe("paper/cnn-exp10")
    html = write(
        [
            run(b, "image", 0.8, 0.85),
            run(a, "image", 0.9176, 0.961),
            run(a, "subject", 0.8476, None),
            Outcome(b, "subject", 24, None, "no <weights> here"),
        ],
        tmp_path / "study",
    )
    assert row_of(html, "cnn-exp2") == [
        "3.2.2", "0.9076", "0.9176", "+0.0100", "0.9610", "0.8476", "−0.0700", "–", "12 min",
    ]  # fmt: skip
    assert row_of(html, "cnn-exp10") == [
        "3.2.2", "0.9076", "0.8000", "−0.1076", "0.8500", "not run: no <weights> here",
        "12 min",
    ]  # fmt: skip
    text = body(html)
    assert text.index("cnn-exp2") < text.index("cnn-exp10")
    assert "2 of 2 experiments run · 3 of 4 trainings" in text
    assert "1 training no <weights> here : paper/cnn-exp10" in text
    assert "−0.049" in text  # the median of +0.0100 and -0.1076
    assert "−0.070 1 experiment" in text
    # ± 1.96 √(p (1 - p) / n), of 2,000 cells and p the median of .8 and .9176.
    assert "2,000 test cells, chance alone moves it by about ± 0.015 (95 %)" in text
    assert "a GPU (3 trainings)" in text
    assert "do &lt;it&gt; again" in html
    assert "<weights>" not in html
    assert DISCLAIMER in text
    assert "Synthetic" not in text
    assert "10.7937/tcia.2019.dc64i46r" in text
    assert not re.findall(r'(?:src|href)="https?:(?!//doi)', html)
    assert {p.name for p in (tmp_path / "study/figures").iterdir()} == {
        "experiments.png",
        "experiments.svg",
    }


def test_seeds_are_averaged_and_the_gap_is_over_those_run_under_both(tmp_path, run):
    a = recipe()
    outcomes = [
        *(run(a, "image", f1, seed=seed) for seed, f1 in ((1, 0.90), (2, 0.92), (3, 0.94))),
        run(a, "subject", 0.86, seed=3),
        *(Outcome(a, "subject", seed, None, "not run yet") for seed in (1, 2)),
    ]
    html = write(outcomes, tmp_path / "study")
    assert row_of(html, "cnn-exp2") == [
        "3.2.2", "0.9076", "0.9200 ± 0.0200 (n = 3)", "+0.0124", "0.9000 ± 0.0000 (n = 3)",
        "0.8600 2 of 3 seeds not run: not run yet", "−0.0800", "0.9000", "12 min",
    ]  # fmt: skip
    # The first seeds differ, so their figures are not subtracted.
    assert "subject-disjoint minus image-level" not in rows(html)


def test_without_a_run_there_is_no_figure_of_ours(tmp_path):
    """Published figures must not stand in for results."""
    outcomes = [Outcome(recipe(), p, 24, None, "not run yet") for p in ("image", "subject")]
    html = write(outcomes, tmp_path / "study")
    assert row_of(html, "cnn-exp2") == ["3.2.2", "0.9076", "not run: not run yet", "–"]
    figures = {f"{v:.4f}" for v in recipe().expected.model_dump().values() if isinstance(v, float)}
    assert len(figures) > 8
    assert [figure for figure in figures if figure in html] == ["0.9076"]
    assert html.count("0.9076") == 1
    assert "<details class=" not in html
    assert "Weighted F1 at a glance" not in html
    assert not (tmp_path / "study" / "figures").exists()


def test_other_published_metrics_change_the_papers_cells_alone(tmp_path, run):
    before = [run(recipe(), "image", 0.91), run(recipe(), "subject", 0.85)]
    expected = recipe().expected.model_copy(update={"weighted_f1": 0.5, "auc": None})
    after = [Outcome(recipe(expected=expected), o.protocol, o.seed, o.run) for o in before]
    old, new = (rows(write(o, tmp_path / n)) for o, n in ((before, "a"), (after, "b")))
    assert old.keys() == new.keys()
    changed = {
        (name, at): (was, now)
        for name in old
        for at, (was, now) in enumerate(zip(old[name], new[name], strict=True))
        if was != now
    }
    main = next(name for name in old if name.startswith("cnn-exp2"))
    beside = next(name for name in old if name.startswith("paper/cnn-exp2"))  # all systems
    # The paper's column and the difference to it; results and their gap stay.
    figures = ("0.9076", "0.5000")
    assert changed == {
        (main, 1): figures,
        (main, 3): ("+0.0024", "+0.4100"),
        (beside, 0): figures,
    }


def test_published_metrics_of_real_cells_never_stand_beside_synthetic_ones(tmp_path, run):
    outcomes = [run(recipe(), "image", 0.81, synthetic=True)]
    html = write(outcomes, tmp_path / "study")
    assert "Synthetic cells" in html
    assert row_of(html, "cnn-exp2")[:5] == ["3.2.2", "–", "0.8100", "–", "0.9000"]
    for published in (
        "0.9076",
        "0.8987",
        "the best being",
        "6,396",
        "4,432",
        "3,198",
        ">the paper<",
    ):
        assert published not in html
    assert "10.7937" not in html
    assert "0.9076" not in results_markdown(outcomes)
    assert "0.9076" in results_markdown([run(recipe("paper/cnn-exp3"), "image", 0.8)])


def test_families_and_order():
    names = [
        "beyond/a", "paper/mobilenetv2-e3", "paper/resnet50-cut-clahe",
        "paper/resnet50-cut-clahe-features", "paper/resnet50-cut-ft1", "paper/resnet50-cut-e10",
        "paper/resnet50-cut-e2", "paper/resnet50-ft1", "paper/resnet50-e1", "paper/vgg16-e10",
        "paper/vgg16-e4bis", "paper/vgg16-e4", "paper/cnn-exp2-clahe", "paper/cnn-exp3", "mine",
    ]  # fmt: skip
    backbones = {"mobilenetv2": "mobilenetv2_100.ra_in1k", "resnet50": "resnet50.tv_in1k"}
    backbones |= {"vgg16": "vgg16.tv_in1k", "mine": "efficientnet_b0"}
    outcomes = []
    for name in names:
        backbone = backbones.get(name.rpartition("/")[2].split("-")[0], "cnn4")
        model = recipe().model.model_copy(update={"backbone": backbone})
        outcomes.append(Outcome(recipe(name, model=model), "image", 24, None))
    found = [(item.family, item.short) for item in read_experiments(outcomes)]
    assert found == [
        ("CNN from scratch", "cnn-exp3"),
        ("CNN from scratch", "cnn-exp2-clahe"),
        ("VGG16", "vgg16-e4"),
        ("VGG16", "vgg16-e4bis"),
        ("VGG16", "vgg16-e10"),
        ("ResNet-50", "resnet50-e1"),
        ("ResNet-50", "resnet50-ft1"),
        ("ResNet-50", "resnet50-cut-e2"),
        ("ResNet-50", "resnet50-cut-e10"),
        ("ResNet-50", "resnet50-cut-ft1"),
        ("ResNet-50", "resnet50-cut-clahe-features"),
        ("ResNet-50", "resnet50-cut-clahe"),
        ("MobileNetV2", "mobilenetv2-e3"),
        ("Beyond the paper", "a"),
        ("Other recipes", "mine"),
    ]


def test_the_data(tmp_path):
    html = write([Outcome(recipe(), "image", 24, None)], tmp_path / "study")
    text = body(html)
    assert "108 cells, in training 92 (image-level split); the paper trained on 6,396" in text
    assert (
        "image-level split, seed 24 train 61 31 92 4 3 validation 7 0 7 2 0 test 0 9 9 0 1" in text
    )
    assert "the paper's, image-level train 4,432 1,964 6,396" in text
    assert rows(html)["image-level split"] == ["1", "2", "0"]
    assert "the paper's (its Section 3.1) 4,432 1,964 3,198 3,198" in text
    assert "image-level split 61 31 46 47" in text
    assert "As Figure 1 &lt;of&gt; the paper" in html
    assert "drawn &lt;for&gt; a test" in html


def test_markdown_has_the_metrics_of_the_page(run):
    one = recipe(title="One | two")
    outcomes = [run(one, "image", 0.9176, 0.961), Outcome(one, "subject", 24, None, "no weights")]
    lines = results_markdown(outcomes).splitlines()
    assert lines[0] == "### CNN from scratch"
    assert lines[4] == (
        "| `cnn-exp2` One \\| two | 3.2.2 | 0.9076 | 0.9176 | +0.0100 | 0.9610 "
        "| not run: no weights | – | – | 12 min |"
    )
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:5]}) == 1


def test_a_section_that_only_the_notebooks_fill_is_marked(tmp_path):
    outcomes = [Outcome(load_recipe("paper/cnn-exp5"), "image", 24, None)]
    assert row_of(write(outcomes, tmp_path / "study"), "cnn-exp5")[0] == "3.2.4 †"
    assert "† The paper names only the stage" in results_markdown(outcomes)
    assert "†" not in results_markdown([Outcome(recipe(), "image", 24, None)])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", '{"format": "other"}', "is not a blastscope-metrics file"),
        ("checkpoint.safetensors", "others", "stale checkpoint"),
        ("environment.json", '{"identity": {"recipe": "paper/cnn-exp1"}}', "run of paper/cnn-exp1"),
    ],
)
def test_a_run_that_is_not_what_it_should_be_is_refused(tmp_path, run, name, content, message):
    outcome = run(recipe(), "image", 0.9)
    (outcome.run / name).write_text(content)
    with pytest.raises(BlastscopeError, match=message):
        write([outcome], tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_what_does_not_fit_together_is_refused(tmp_path, run):
    outcome = run(recipe(), "image", 0.9)
    out = tmp_path / "study"
    with pytest.raises(BlastscopeError, match=r"cnn-exp2 is listed twice, image, seed 24"):
        write([outcome, outcome], out)
    with pytest.raises(BlastscopeError, match="under the protocol image, not subject"):
        write([Outcome(recipe(), "subject", 24, outcome.run)], out)
    with pytest.raises(BlastscopeError, match="'official' is not a protocol"):
        write([Outcome(recipe(), "official", 24, None)], out)
    for more, message in (
        ({"checkpoint": "sha256:0"}, "trained after it was evaluated"),
        ({"parts": {"train": {}}}, "no metrics of test cells"),
    ):
        content = json.loads((outcome.run / "metrics.json").read_text())
        (outcome.run / "metrics.json").write_text(json.dumps({**content, **more}))
        with pytest.raises(BlastscopeError, match=message):
            write([outcome], out)
        (outcome.run / "metrics.json").write_text(json.dumps(content))
    (outcome.run / "figures").mkdir()
    (outcome.run / "figures" / "roc.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(BlastscopeError, match=r"roc\.png is not an image.*evaluate its run again"):
        write([outcome], out)
    assert not out.exists()
