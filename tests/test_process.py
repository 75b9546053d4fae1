"""What belongs to the whole process is changed by ``tune_process``, and by no import."""

import json
import os
import subprocess
import sys

import pytest

from blastscope.process import environment, keep_freed_memory

FAULTS = """
import resource, sys
import numpy as np
from blastscope.process import tune_process

if sys.argv[1] == "tuned":
    tune_process()
np.ones(200_000)  # what the first one needs is not counted
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(200_000), np.ones(200_000)  # 1.6 MB each
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
STATE = """
import importlib, json, logging, os, pkgutil, warnings
import captum, cv2, lightning, matplotlib, onnxruntime, openvino, sklearn.metrics, timm
import torch, torchmetrics, torchvision, torch.utils.flop_counter, scipy.stats, onnxscript
import captum.attr, lightning.pytorch.callbacks, polars, timm.optim, huggingface_hub
from PIL import Image, ImageFile

def state():
    return {
        "warnings": [str(one) for one in warnings.filters],
        "pixels": Image.MAX_IMAGE_PIXELS,
        "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,
        "torch": [torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()],
        "opencv": cv2.getNumThreads(),
        "matplotlib": str(sorted(matplotlib.rcParams.items())),
        "environment": dict(os.environ),
        "logging": {name: logging.getLogger(name).level for name in ("", "lightning.pytorch")},
    }

matplotlib.use("svg")
Image.MAX_IMAGE_PIXELS = 123_456
before = state()
import blastscope
for found in pkgutil.walk_packages(blastscope.__path__, "blastscope."):
    # Alembic runs the files of migrations, MLflow the served model; nothing imports them.
    if not any(part in found.name for part in ("__main__", ".migrations.", ".served_model")):
        importlib.import_module(found.name)
after = state()
print(json.dumps([name for name in before if before[name] != after[name]]))
"""


def _said(code: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().rpartition("\n")[2]


@pytest.mark.skipif(not keep_freed_memory(), reason="needs glibc")
def test_memory_that_was_freed_is_used_again():
    assert int(_said(FAULTS, "tuned")) < int(_said(FAULTS, "as it is")) / 5


def test_no_import_changes_the_process():
    assert json.loads(_said(STATE)) == []


def test_tuning_limits_opencv_before_and_after_its_import():
    tuned = "from blastscope.process import tune_process; "
    assert _said(tuned + "tune_process(); import cv2; print(cv2.getNumThreads())") == "1"
    assert _said("import cv2; " + tuned + "tune_process(); print(cv2.getNumThreads())") == "1"


def test_threads_that_wait_do_not_spin_for_long_and_are_as_many_as_asked_for():
    tuned = "from blastscope.process import tune_process; tune_process(1); import os; "
    assert int(_said(tuned + "print(os.environ['GOMP_SPINCOUNT'])")) <= 100_000
    assert _said(tuned + "import torch; print(torch.get_num_threads())") == "1"
    assert _said("import torch; " + tuned + "print(torch.get_num_threads())") == "1"


def test_environment_variables_are_as_before_after_a_block(monkeypatch):
    monkeypatch.setenv("BLASTSCOPE_A", "old")
    monkeypatch.delenv("BLASTSCOPE_B", raising=False)
    with environment({"BLASTSCOPE_A": "new", "BLASTSCOPE_B": "new"}):
        assert (os.environ["BLASTSCOPE_A"], os.environ["BLASTSCOPE_B"]) == ("new", "new")
    assert os.environ["BLASTSCOPE_A"] == "old"
    assert "BLASTSCOPE_B" not in os.environ
