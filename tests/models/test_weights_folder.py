"""The folder of weights: filled from a stand-in for the hub, and checked."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import blastscope as bs
from blastscope.errors import BlastscopeError
from blastscope.models import weights_folder
from blastscope.models.classifier import build_model
from blastscope.models.pretrained import known_weights, needed_weights
from blastscope.models.weights_folder import fetch_weights, verify_weights
from tests.models.recipes import recipe

NAME = "resnet18.a1_in1k"
FILE = f"{NAME}.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """The file of a random ResNet-18, as the hub would have it."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("hub") / "model.safetensors"
    save_file(timm.create_model("resnet18").state_dict(), path)
    return path


@pytest.fixture
def hub(original, tmp_path_factory, monkeypatch):
    """A hub with one file for every name; what is set on it changes what it says."""
    served = tmp_path_factory.mktemp("cache") / "model.safetensors"
    shutil.copy(original, served)
    state = SimpleNamespace(
        etag=hashlib.sha256(original.read_bytes()).hexdigest(),
        size=original.stat().st_size,
        asked=[],
        sent=[],
        served=served,
    )

    def metadata(url: str):
        state.asked.append(url)
        if state.etag is None:
            raise ConnectionError("no\nroute")
        return SimpleNamespace(etag=state.etag, commit_hash=COMMIT, size=state.size)

    def download(repository: str, file: str, *, revision: str) -> str:
        state.sent.append((repository, file, revision))
        return str(state.served)

    monkeypatch.setattr(weights_folder, "get_hf_file_metadata", metadata)
    monkeypatch.setattr(weights_folder, "hf_hub_download", download)
    return state


def fetch(folder: Path, **options: bool):
    return fetch_weights([known_weights("resnet18")], folder, **options)


def test_a_fetched_file_is_the_hubs_and_is_used(hub, original, tmp_path):
    folder = tmp_path / "weights"
    assert [done.already for done in fetch(folder)] == [False]
    assert (folder / FILE).read_bytes() == original.read_bytes()
    assert hub.asked == [f"https://huggingface.co/timm/{NAME}/resolve/main/model.safetensors"]
    assert hub.sent == [(f"timm/{NAME}", "model.safetensors", COMMIT)]
    record = json.loads((folder / "weights.json").read_text())["files"][NAME]
    assert record["sha256"] == "sha256:" + hashlib.sha256(original.read_bytes()).hexdigest()
    assert record["licence"] == "apache-2.0"  # as the model card of timm/resnet18.a1_in1k has it
    assert COMMIT in record["source"]
    assert sorted(path.name for path in folder.iterdir()) == [FILE, "weights.json"]
    net = build_model(recipe(NAME, weights="imagenet"), folder).backbone.net
    assert torch.equal(net.conv1.weight, load_file(original)["conv1.weight"])


def test_what_is_there_and_recorded_is_left_and_the_hub_not_asked(hub, tmp_path):
    fetch(tmp_path / "w")
    hub.asked.clear()
    assert [done.already for done in fetch(tmp_path / "w")] == [True]
    assert len(hub.sent) == 1
    assert not hub.asked


def test_the_hubs_own_file_brought_by_hand_is_recorded(hub, original, tmp_path):
    shutil.copy(original, tmp_path / FILE)
    assert [done.already for done in fetch(tmp_path)] == [True]
    assert not hub.sent
    assert NAME in json.loads((tmp_path / "weights.json").read_text())["files"]


def test_what_will_be_downloaded_is_announced_before_the_first_download(hub, tmp_path):
    fetch(tmp_path / "w")
    hub.sent.clear()
    heard = []

    def announced(downloads):
        assert not hub.sent
        heard.extend((one.weights.name, one.bytes) for one in downloads)

    wanted = [known_weights(name) for name in ("resnet18", "vgg16")]
    fetch_weights(wanted, tmp_path / "w", on_announced=announced)
    assert heard == [("vgg16.tv_in1k", hub.size)]
    assert [repository for repository, *_ in hub.sent] == ["timm/vgg16.tv_in1k"]


def test_only_the_papers_weights_are_fetched_and_their_recipes_named(hub, tmp_path, capfd):
    fetched = bs.fetch_weights(tmp_path / "w", only="paper/*", progress=True)
    names = {row["name"] for row in fetched.rows}
    assert names == {"mobilenetv2_100.ra_in1k", "resnet50.tv_in1k", "vgg16.tv_in1k"}
    lines = capfd.readouterr().err.splitlines()
    total = 3 * hub.size / 1e6
    assert f"3 of 3 files will be downloaded: {total:,.0f} MB." in lines
    line = next(one for one in lines if one.startswith("vgg16.tv_in1k.safetensors, "))
    assert "paper/vgg16-e12" in line
    assert "related/" not in line
    hub.size = None  # a hub that does not tell
    bs.fetch_weights(tmp_path / "w", ["resnet18"], progress=True)
    assert "1 of unknown size" in capfd.readouterr().err


@pytest.mark.parametrize("asked", [{"only": "nothing/*"}, {"only": "paper/*", "names": ["vgg16"]}])
def test_a_pattern_that_fits_nothing_or_stands_beside_names_is_refused(hub, tmp_path, asked):
    with pytest.raises(BlastscopeError):
        bs.fetch_weights(tmp_path / "w", **asked)
    assert not hub.asked
    assert not (tmp_path / "w").exists()


def test_another_file_is_kept_unless_forced(hub, original, tmp_path):
    (tmp_path / FILE).write_bytes(b"mine")
    with pytest.raises(BlastscopeError, match=rf"{FILE} is not the hub's file: .*--force"):
        fetch(tmp_path)
    assert (tmp_path / FILE).read_bytes() == b"mine"
    assert not hub.sent
    fetch(tmp_path, force=True)
    assert (tmp_path / FILE).read_bytes() == original.read_bytes()


def test_a_file_that_is_not_what_was_promised_is_not_kept(hub, tmp_path):
    hub.served.write_bytes(hub.served.read_bytes()[:-1] + b"!")
    with pytest.raises(BlastscopeError, match=r"has another hash than timm's hub announced"):
        fetch(tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_hub_that_promises_no_hash_is_refused(hub, tmp_path):
    hub.etag = "a" * 40  # what the hub says of a small file: git's hash, not the content's
    with pytest.raises(BlastscopeError, match=r"no SHA-256"):
        fetch(tmp_path / "w")
    assert not hub.sent


def test_a_hub_out_of_reach_is_one_sentence_that_names_what_is_missing(hub, tmp_path):
    hub.etag = None
    wanted = [known_weights(name) for name in ("resnet18", "vgg16")]
    with pytest.raises(BlastscopeError) as caught:
        fetch_weights(wanted, tmp_path / "w")
    said = str(caught.value)
    assert f"for {FILE}: try again with a network" in said
    assert "\n" not in said


def test_a_record_that_is_none_is_refused(hub, tmp_path):
    (tmp_path / "weights.json").write_text('{"format": "blastscope-weights/1", "files": {"a": 1}}')
    with pytest.raises(BlastscopeError, match=r"weights\.json has no sha256 for a"):
        fetch(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/b", "a\\b", "C:b", "..", "", "b\n"])
def test_a_record_reaches_no_file_outside_its_folder(tmp_path, name):
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in (tmp_path / "outside.safetensors", folder / FILE):
        path.write_text("secret")
    digest = "sha256:" + hashlib.sha256(b"secret").hexdigest()
    record = {"format": "blastscope-weights/1", "files": {name: {"sha256": digest}}}
    (folder / "weights.json").write_text(json.dumps(record))
    with pytest.raises(
        BlastscopeError, match=r"weights\.json names .*, which is not a plain"
    ) as caught:
        verify_weights(folder)
    assert digest not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_list_is_what_the_recipes_need():
    needed = needed_weights()
    names = {known.name: recipes for known, recipes in needed.items()}
    assert "paper/mobilenetv2-e7" in names["mobilenetv2_100.ra_in1k"]
    assert not any("cnn" in name for recipes in names.values() for name in recipes)
    assert all("." in name for name in names)  # with timm's tag, without which a name can change


def test_a_name_that_timm_lacks_lists_near_ones():
    with pytest.raises(BlastscopeError, match=r"no weights vgg15; near it are vgg1"):
        known_weights("vgg15")
    with pytest.raises(BlastscopeError, match=r"near it are .*resnet18\.a1_in1k"):
        known_weights("resnet18.mine")


def test_verifying_finds_right_and_wrong_and_writes_nothing(hub, original, tmp_path):
    fetch(tmp_path)
    shutil.copy(original, tmp_path / "resnet18.a2_in1k.safetensors")
    shutil.copy(original, tmp_path / "resnet18.safetensors")
    shutil.copy(original, tmp_path / "resnet10t.c3_in1k.safetensors")
    shutil.copy(original, tmp_path / "mine.safetensors")
    (tmp_path / "resnet18.a3_in1k.safetensors").write_text("text")
    spoiled = load_file(original)
    spoiled["bn1.bias"][0] = float("inf")
    save_file(spoiled, tmp_path / "resnet18.tv_in1k.safetensors")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    found = {verified.name: verified for verified in verify_weights(tmp_path)}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert (found[NAME].problem, found[NAME].recorded) == (None, True)
    digest = "sha256:" + hashlib.sha256(original.read_bytes()).hexdigest()
    other = found["resnet18.a2_in1k"]
    assert (other.problem, other.recorded, other.sha256) == (None, False, digest)
    assert "rename it to resnet18.a1_in1k.safetensors" in found["resnet18"].problem
    assert "lacks" in found["resnet10t.c3_in1k"].problem
    assert "no weights mine" in found["mine"].problem
    assert "cannot be read as safetensors" in found["resnet18.a3_in1k"].problem
    assert "NaN or infinity in bn1.bias" in found["resnet18.tv_in1k"].problem


def test_a_file_that_changed_or_went_since_it_was_recorded_is_wrong(hub, tmp_path):
    fetch(tmp_path)
    changed = load_file(tmp_path / FILE)
    changed["conv1.weight"] += 1
    save_file(changed, tmp_path / FILE)
    assert "another hash" in verify_weights(tmp_path)[0].problem
    (tmp_path / FILE).unlink()
    assert "recorded but does not exist" in verify_weights(tmp_path)[0].problem


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(BlastscopeError, match="has no weights"):
        verify_weights(tmp_path)


def test_a_file_with_the_first_part_is_verified_as_such(tmp_path):
    part = {
        key: tensor
        for key, tensor in timm.create_model("resnet50").state_dict().items()
        if key.split(".")[0] not in ("layer4", "fc") and not key.endswith("num_batches_tracked")
    }
    save_file(part, tmp_path / "resnet50.caffe_in1k_layer3.safetensors")
    assert [verified.problem for verified in verify_weights(tmp_path)] == [None]
    lacking = {key: part[key] for key in part if key != "layer3.5.conv2.weight"}
    save_file(lacking, tmp_path / "resnet50.caffe_in1k_layer3.safetensors")
    assert "lacks layer3.5.conv2.weight" in str(verify_weights(tmp_path)[0].problem)
    save_file(part, tmp_path / "resnet50.caffe_in1k.safetensors")  # the name of the whole network
    found = {one.name: one.problem for one in verify_weights(tmp_path)}
    assert "lacks layer4.0.conv1.weight" in str(found["resnet50.caffe_in1k"])


def test_weights_that_the_hub_does_not_have_are_brought_by_hand(hub, tmp_path):
    with pytest.raises(BlastscopeError, match=r"resnet50\.caffe_in1k_layer3\.safetensors into"):
        fetch_weights([known_weights("resnet50.caffe_in1k")], tmp_path / "w")
    assert not hub.asked


def test_the_weights_at_hand_are_right(shared):
    folder = shared / "weights"
    if not folder.is_dir():
        pytest.skip(f"no weights: there is no {folder}")
    names = {
        "mobilenetv2_100.ra_in1k",
        "tf_efficientnet_lite0.in1k",
        "tf_efficientnet_lite1.in1k",
        "vgg16.tv_in1k",
        "resnet50.caffe_in1k_layer3",
    }
    problems = {verified.name: verified.problem for verified in verify_weights(folder)}
    there = {path.stem for path in folder.glob("*.safetensors")}
    assert {name: problems[name] for name in names & there} == dict.fromkeys(names & there)
