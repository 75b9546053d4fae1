"""``blastscope weights``, as it is typed."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from blastscope.cli import app


def test_the_list_says_what_a_folder_has(tmp_path):
    (tmp_path / "mobilenetv2_100.ra_in1k.safetensors").touch()
    arguments = ["weights", "list", "--weights-dir", str(tmp_path), "--json"]
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(app, arguments).stdout)}
    assert rows["mobilenetv2_100.ra_in1k"]["in_folder"] is True
    assert rows["mobilenetv2_100.ra_in1k"]["repository"] == "timm/mobilenetv2_100.ra_in1k"
    assert [row["name"] for row in rows.values() if row["in_folder"]] == ["mobilenetv2_100.ra_in1k"]
    told = CliRunner().invoke(app, arguments[:-1]).stdout
    assert "mobilenetv2_100.ra_in1k.safetensors" in told
    assert "apache-2.0" in told


def test_verifying_a_wrong_file_ends_with_status_2(tmp_path):
    (tmp_path / "resnet18.a1_in1k.safetensors").write_text("text")
    done = CliRunner().invoke(app, ["weights", "verify", "--weights-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert "resnet18.a1_in1k: wrong: " in done.output
    assert "1 of 1 files" in done.output
