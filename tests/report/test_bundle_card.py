"""The card's metadata: YAML that PyYAML reads, with the manifest's own numbers, and never shown."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import pytest
import yaml

from blastscope.api.inspect_bundle import inspect_bundle
from blastscope.box import in_the_box
from blastscope.bundle.contents import CARD, MANIFEST
from blastscope.bundle.manifest import MetricEntry
from blastscope.bundle.read import open_bundle
from blastscope.bundle.write import BundleDraft, write_bundle
from blastscope.report.bundle_card import bundle_card


@pytest.fixture(scope="module")
def manifest():
    return open_bundle(in_the_box()).manifest


def metadata(manifest):
    card = bundle_card(manifest, None)
    first, text, body = card.split("---\n", 2)
    assert first == ""
    assert body.lstrip().startswith("# ")
    return yaml.safe_load(text)


def test_the_metadata_hold_the_manifests_numbers(manifest):
    found = metadata(manifest)
    assert (found["license"], found["library_name"]) == ("apache-2.0", "blastscope")
    unnamed = metadata(manifest.model_copy(update={"licence": None}))
    assert (unnamed["license"], unnamed["license_name"]) == ("other", "not-stated")
    assert found["pipeline_tag"] == "image-classification"
    assert {"hematology", "leukemia", "onnx", "blastscope"} < set(found["tags"])
    (index,) = found["model-index"]
    assert index["name"] == manifest.name
    assert len(index["results"]) == len(manifest.evaluations)
    for result, judged in zip(index["results"], manifest.evaluations, strict=True):
        assert result["task"] == {"type": "image-classification"}
        assert f"{judged.cells:,} {judged.part} cells" in result["dataset"]["name"]
        assert {"type", "name"} <= set(result["dataset"])
        values = {metric["type"]: metric["value"] for metric in reversed(result["metrics"])}
        assert values["roc_auc"] == judged.metrics["auc"].value
        named = {metric["name"].partition(" (")[0]: metric["value"] for metric in result["metrics"]}
        assert named["AUC at equal size"] == judged.metrics["auc_equal_size"].value
        assert named["AUC of the size of a cell alone"] == judged.metrics["auc_of_size"].value
        assert values["specificity"] == judged.metrics["recall_hem"].value
        assert set(values) <= set(found["metrics"])


def test_the_hubs_own_reader_takes_them(manifest):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(bundle_card(manifest, None))
    assert card.data.model_name == manifest.name
    values = {
        (one.dataset_split, one.metric_type): one.metric_value for one in card.data.eval_results
    }
    judged = manifest.evaluations[-1]
    assert values[judged.part, "f1"] == judged.metrics["weighted_f1"].value


def test_what_is_unknown_or_undefined_is_left_out(manifest):
    with pytest.raises(ValueError, match="finite"):
        MetricEntry(value=math.nan)
    entry = manifest.evaluations[0]
    less = {key: one for key, one in entry.metrics.items() if not key.startswith("auc")}
    bare_f1 = {"weighted_f1": MetricEntry(value=0.5)}  # without an interval
    changed = entry.model_copy(update={"metrics": less | bare_f1})
    found = metadata(manifest.model_copy(update={"evaluations": (changed,), "note": "mine"}))
    (result,) = found["model-index"][0]["results"]
    assert "roc_auc" not in {metric["type"] for metric in result["metrics"]}
    assert result["metrics"][0] == {"type": "f1", "name": "weighted F1", "value": 0.5}
    assert "datasets" not in found
    bare = metadata(manifest.model_copy(update={"evaluations": ()}))
    assert not {"model-index", "metrics"} & set(bare)
    assert metadata(manifest.model_copy(update={"synthetic": True}))["datasets"] == [
        "synthetic-cells"
    ]


def test_the_base_model_is_the_page_of_timms_hub_that_training_began_with(manifest):
    def base(file, backbone):
        network = manifest.network
        model = network.recipe.model.model_copy(update={"backbone": backbone})
        recipe = network.recipe.model_copy(update={"model": model})
        weights = file and network.initial_weights.model_copy(update={"file": file})
        changed = network.model_copy(update={"recipe": recipe, "initial_weights": weights})
        return metadata(manifest.model_copy(update={"network": changed})).get("base_model")

    name = "tf_efficientnet_lite0.in1k"
    assert base(f"{name}.safetensors", name) == f"timm/{name}"
    assert base("model.safetensors", name) == f"timm/{name}"  # in the hub's cache
    assert base(None, name) is None
    assert manifest.network.recipe.model.backbone == "resnet50.caffe_in1k"
    assert "base_model" not in metadata(manifest)  # timm's hub does not have these weights


NAMES = ("a: b", "---", "no", "1e3", "'q\" #x", "{x}", "été", "- y", "é\u2028z")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_escaped(manifest, name):
    found = metadata(manifest.model_copy(update={"name": name}))
    assert found["model-index"][0]["name"] == name


def test_a_reader_of_the_bundle_does_not_see_them(manifest, tmp_path):
    box = in_the_box()
    files = {one.name: one.read_bytes() for one in box.iterdir()}
    kept = {name: files[name] for name in files if name not in (CARD, MANIFEST)}
    card = bundle_card(manifest, None)
    write_bundle(BundleDraft(manifest, kept).sealed(card), tmp_path / "made")
    assert (tmp_path / "made" / CARD).read_text().startswith("---\nlicense: apache-2.0\n")
    shown = inspect_bundle(tmp_path / "made").card
    assert shown.startswith("# ")
    assert "license" not in shown.splitlines()[0:3]
    assert shown == "\n".join(card.split("---\n", 2)[2].lstrip("\n").splitlines())


def test_a_card_of_an_older_bundle_is_shown_whole(manifest, tmp_path):
    place = shutil.copytree(in_the_box(), tmp_path / "old")
    kept = {one.name: one.read_bytes() for one in place.iterdir()}
    for old in ("# plain\n\ntext\n", "---\nno end\n"):
        files = {name: kept[name] for name in kept if name not in (CARD, MANIFEST)}
        made = tmp_path / f"made{len(old)}"
        write_bundle(BundleDraft(manifest, files).sealed(old), made)
        assert open_bundle(made).card == old.rstrip("\n")


@pytest.mark.parametrize(("threshold", "said"), [(0.0, "No call is"), (0.7, "0.700 is")])
def test_a_referral_that_keeps_every_call_is_told_as_such(manifest, threshold, said):
    kept = open_bundle(in_the_box()).decision
    referral = replace(kept.decision.referral, threshold=threshold)
    fitted = replace(kept.decision, referral=referral)
    assert f"{said} referred." in bundle_card(manifest, replace(kept, decision=fitted))
