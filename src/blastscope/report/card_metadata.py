"""The metadata of a bundle's card as Hugging Face's hub reads it: YAML before the Markdown.

The keys are those of the hub's specification of model cards. What the manifest does not know is
left out; a manifest's metrics are finite.
"""

from __future__ import annotations

from typing import Any

from blastscope.bundle.contents import FRONT_MATTER
from blastscope.bundle.manifest import EvaluationEntry, Manifest, MetricEntry
from blastscope.bundle.provenance import EQUAL_SIZE, OF_SIZE, OF_SIZE_AT_EQUAL_SIZE
from blastscope.recipes.reading import dump_yaml
from blastscope.report.text import interval, protocol_name

TASK = "image-classification"
TAGS = (TASK, "hematology", "leukemia", "onnx", "blastscope")
_METRICS = {
    "weighted_f1": ("f1", "weighted F1"),
    "auc": ("roc_auc", "AUC"),
    "recall_all": ("recall", "sensitivity"),
    "recall_hem": ("specificity", "specificity"),
    EQUAL_SIZE: ("roc_auc", "AUC at equal size"),
    OF_SIZE: ("roc_auc", "AUC of the size of a cell alone"),
    OF_SIZE_AT_EQUAL_SIZE: ("roc_auc", "AUC of the size of a cell alone, at equal size"),
}
"""For each metric that the card shows, the hub's name for it and ours."""
_DATASETS = {"10.7937/tcia.2019.dc64i46r": ("c-nmc-2019", "C-NMC 2019")}
"""Data sets by the DOI with which a maker's note cites them: identifier and name."""
_UNKNOWN = ("labelled-cells", "labelled white blood cells")
_SYNTHETIC = ("synthetic-cells", "synthetic cells")


def front_matter(manifest: Manifest) -> str:
    """Write the metadata of a card as YAML between its two lines of dashes."""
    return f"{FRONT_MATTER}{dump_yaml(card_metadata(manifest))}{FRONT_MATTER}\n"


_NOT_ON_THE_HUB = "resnet50.caffe_in1k"
"""Of its authors' own weights, which timm's hub does not have."""


def card_metadata(manifest: Manifest) -> dict[str, Any]:
    """Return the metadata of a card, in the order in which they are written.

    The licence is ``other`` if the bundle's maker named none.
    """
    base, known = _base_model(manifest), _dataset(manifest)
    results = [found for one in manifest.evaluations if (found := _result(one, known))["metrics"]]
    kinds = [metric["type"] for found in results for metric in found["metrics"]]
    content: dict[str, Any] = {"license": "other", "license_name": "not-stated"}
    if manifest.licence:
        content = {"license": manifest.licence.lower()}  # as the hub writes SPDX's identifiers
    content |= {"library_name": "blastscope", "pipeline_tag": TASK, "tags": list(TAGS)}
    if known != _UNKNOWN:
        content["datasets"] = [known[0]]
    if kinds:
        content["metrics"] = list(dict.fromkeys(kinds))
    if base:
        content["base_model"] = base
    if results:
        content["model-index"] = [{"name": manifest.name, "results": results}]
    return content


def _base_model(manifest: Manifest) -> str | None:
    """Return the page of timm's hub whose ImageNet weights training began with, if there is one."""
    network = manifest.network
    if network is None or network.initial_weights is None:
        return None
    if network.recipe.model.backbone == _NOT_ON_THE_HUB:
        return None
    # From the hub's cache the file is called model.safetensors; timm's full names have a tag.
    file = network.initial_weights.file.removesuffix(".safetensors")
    names = (file, network.recipe.model.backbone)
    return next((f"timm/{name}" for name in names if "." in name), None)


def _dataset(manifest: Manifest) -> tuple[str, str]:
    if manifest.synthetic:
        return _SYNTHETIC
    cited = (found for doi, found in _DATASETS.items() if doi in manifest.note.lower())
    return next(cited, _UNKNOWN)


def _result(found: EvaluationEntry, dataset: tuple[str, str]) -> dict[str, Any]:
    """Return one evaluation as the hub has it; weights and split are in the data set's name."""
    kind, name = dataset
    weights = "these weights" if found.own else "other weights of the recipe"
    cells = f"{found.cells:,} {found.part} cells, {protocol_name(found.protocol)}, {weights}"
    return {
        "task": {"type": TASK},
        "dataset": {"type": kind, "name": f"{name}: {cells}", "split": found.part},
        "metrics": [
            {"type": their, "name": _with_interval(our, metric), "value": metric.value}
            for key, (their, our) in _METRICS.items()
            if (metric := found.metrics.get(key)) is not None
        ],
    }


def _with_interval(name: str, metric: MetricEntry) -> str:
    if metric.low is None or metric.high is None:
        return name
    bounds = interval((metric.low, metric.high))
    return f"{name} (95 % interval {bounds})" if bounds else name
