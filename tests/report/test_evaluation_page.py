from __future__ import annotations

import json
import re
from pathlib import Path

from blastscope.api.evaluate import evaluate
from blastscope.io.files import sha256_of
from blastscope.io.predictions import read_predictions, write_predictions


def finished_run(run: Path, *, synthetic: bool) -> Path:
    """A run with a published figure, over cells all of whose subjects are in training."""
    run.mkdir()
    (run / "checkpoint.safetensors").write_bytes(b"weights")
    table = run / "t.csv"
    rows = [
        f"{subject}{i},{subject},{label},{part},net,{p}"
        for i, part in enumerate(("train", "test"))
        for subject, label, p in (("S1", "all", 0.9), ("H1", "hem", 0.6), ("H2", "hem", 0.1))
    ]
    table.write_text("\n".join(["cell,subject,label,part,model,p_all", *rows]))
    metadata = {
        "checkpoint": sha256_of(run / "checkpoint.safetensors"),
        "protocol": "image",
        "synthetic": synthetic,
    }
    write_predictions(read_predictions(table)[0], run / "predictions.parquet", metadata)
    (run / "history.csv").write_text(
        "epoch,train_loss,train_accuracy,val_loss,val_accuracy,rate,seconds\n"
        "1,0.7,0.5,0.4,0.8125,0.001,2\n2,0.5,0.7,0.6,0.9,0.001,2\n"
    )
    (run / "recipe.yaml").write_text(
        "title: The CNN <twice>\npaper: {section: 3.2.2, name: CNN exp2}\n"
        "expected: {val_accuracy: 0.8987, weighted_f1: 0.9076, auc: null, note: Read off a plot.}\n"
    )
    layers = [
        {
            "name": f"conv{i}",
            "type": "Conv2d",
            "output": [8, 4, 4],
            "parameters": 10,
            "trainable": 0,
        }
        for i in range(30)
    ]
    network = {"layers": layers, "total": 2027329, "trainable": 1281}
    (run / "network.json").write_text(json.dumps(network))
    return run


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_published_metrics_stand_beside_and_apart(tmp_path):
    page = evaluate(finished_run(tmp_path / "run", synthetic=False)).to_html()
    text = text_of(page)
    assert "published, another split" in text
    assert "Baldi and Cioffo, section 3.2.2, CNN exp2" in text
    # Ours is the epoch of the lowest validation loss, not the last.
    assert "validation accuracy 0.8987 0.8125" in text
    # One ALL right, one normal of two right: F1 2/3 for each class.
    assert "test weighted F1 0.9076 0.6667" in text
    assert "Read off a plot." in text
    assert "All 3 test subjects are also in training" in text
    assert "2,027,329 parameters, 1,281 of them trained, in 30 layers" in text
    assert "<details><summary>Table of the layers" in page
    assert "The CNN &lt;twice&gt;" in page


def test_published_metrics_of_real_cells_never_stand_beside_synthetic_ones(tmp_path):
    text = text_of(evaluate(finished_run(tmp_path / "run", synthetic=True)).to_html())
    assert "another split of the data" not in text
    assert "are left out: they are of real cells" in text
    assert "Synthetic cells" in text
