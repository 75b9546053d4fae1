"""The systems that the paper cites, through the command that trains them, on synthetic cells."""

from __future__ import annotations

from typer.testing import CliRunner

from blastscope.cli import app
from blastscope.reproduction.plan import study_names


def test_related_systems_are_trained_and_set_beside_each_other(dataset, tmp_path):
    data = dataset(subjects=4, per_subject=2, side=60)
    arguments = ["reproduce", "--data", str(data), "--out", str(tmp_path / "study")]
    arguments += ["--protocol", "subject", "--device", "cpu"]
    small = ("input.size=36", "model.weights=none", "training.epochs=1", "training.batch=8")
    for setting in small:
        arguments += ["--set", setting]
    done = CliRunner().invoke(app, [*arguments, "--only", "related/[sv]*"])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "study" / "report.html").read_text()
    assert "One protocol: cells of unseen subjects" in page
    table = (tmp_path / "study" / "results.md").read_text()
    start = table.index("### One protocol")
    names = [
        name
        for name in ("sdct-auxnet", "sdct-auxnet-half", "verma-singh-head", "verma-singh")
        if f"`related/{name}`" in table[start:]
    ]
    assert len(names) == 4
    assert ".807 to .872" in table[start:]
    assert "deepmen" not in table  # what was not asked for and not run is not listed
    assert "vgg16-e1`" not in table
    others = [n for n in study_names() if not n.startswith("related/")]  # those have their own rule
    assert f"Not asked for, and not listed: {len(others)} experiments." in table
