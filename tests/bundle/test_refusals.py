"""Bundles that were cut short, changed, forged, or are somebody else's: one sentence each."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from blastscope.bundle.contents import Contents, digest_of
from blastscope.bundle.manifest import _own_digest
from blastscope.bundle.read import open_bundle
from blastscope.errors import BlastscopeError


@pytest.fixture
def made(bundles, tmp_path):
    """A copy to be damaged."""
    return shutil.copytree(bundles.folder, tmp_path / "b")


def refused(path, match):
    with pytest.raises(BlastscopeError, match=match) as caught:
        open_bundle(path).verify()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def forge(folder, change):
    """Change a manifest and digest it anew, as whoever means harm would."""
    place = folder / "bundle.json"
    content = json.loads(place.read_text())
    content.pop("digest")
    change(content)
    content["digest"] = _own_digest(content)
    place.write_text(json.dumps(content))


def replace_file(folder, name, content):
    """Put another file in its place, and its digest into the manifest."""
    (folder / name).write_bytes(content)
    file = {"sha256": digest_of(content), "bytes": len(content)}
    forge(folder, lambda manifest: manifest["files"].update({name: file}))


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "model.onnx", "card.md", "ood.json", "bundle.json"]
)
def test_one_changed_byte_is_noticed_wherever_it_is(made, name):
    content = bytearray((made / name).read_bytes())
    content[len(content) // 2] ^= 1
    (made / name).write_bytes(bytes(content))
    refused(made, "was cut short or changed|was changed|is not valid JSON")


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx", "bundle.json"])
def test_a_file_cut_short_or_missing_is_noticed(made, name):
    content = (made / name).read_bytes()
    (made / name).write_bytes(content[: len(content) // 2])
    refused(made, "cut short|not valid JSON")
    (made / name).unlink()
    refused(
        made, f"has no {name}, so the bundle is not complete" if name != "bundle.json" else "has no"
    )


def test_a_newer_version_asks_for_a_newer_blastscope(made):
    forge(made, lambda content: content.update(version=3))
    refused(made, "bundle of version 3, and this blastscope reads version 2: install a newer")
    forge(made, lambda content: content.update(version=1))
    refused(made, "was made by an older blastscope: make it again with `blastscope bundle`")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.update(format="other"), "is not a blastscope-bundle file"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m.pop("name"), "name"),
        (lambda m: m["network"]["preparation"].update(size=10**6), "size"),
        (lambda m: m["network"]["recipe"]["model"].update(backbone="no-such-net"), "no backbone"),
        (lambda m: m.pop("network"), "a network or an ensemble"),
        (lambda m: m.update(evaluations=[{"own": "maybe"}]), "evaluations"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused_even_with_a_right_digest(made, change, match):
    forge(made, change)
    with pytest.raises(BlastscopeError, match=match):
        open_bundle(made).networks[0].classifier()


def test_weights_that_are_no_numbers_are_refused(made):
    tensors = load((made / "weights.safetensors").read_bytes())
    name = next(name for name, tensor in tensors.items() if tensor.dtype.kind == "f")
    tensors[name] = np.full_like(tensors[name], np.nan)
    replace_file(made, "weights.safetensors", save(tensors))
    refused(made, "contains NaN or infinity")


def test_weights_of_another_shape_are_refused_by_both_engines(made, bundles):
    tensors = load((made / "weights.safetensors").read_bytes())
    name = max(tensors, key=lambda key: tensors[key].size)
    tensors[name] = tensors[name][:-1]
    replace_file(made, "weights.safetensors", save(tensors))
    with pytest.raises(BlastscopeError, match="do not fit the network"):
        open_bundle(made).networks[0].classifier()
    import blastscope

    image = next(iter(bundles.trained.images.values()))
    with pytest.raises(BlastscopeError, match=r"model\.onnx"):
        blastscope.load(made).predict(image)


def test_links_are_not_followed(made, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes((made / "card.md").read_bytes())
    (made / "card.md").unlink()
    (made / "card.md").symlink_to(secret)
    refused(made, "is a link, which a bundle must not hold")


def test_json_without_end_is_not_read(made):
    with (made / "bundle.json").open("wb") as file:
        file.truncate(100 * 2**20)
    refused(made, "of more than 8388608 bytes")


def zipped(folder, out, extra=()):
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
        for entry, content in extra:
            archive.writestr(entry, content)
    return out


def test_a_zip_made_by_other_tools_is_a_bundle_too(made, tmp_path):
    assert open_bundle(zipped(made, tmp_path / "b.zip")).verify() > 0


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "evil.py", "members/0/x"])
def test_an_entry_that_no_bundle_has_is_refused_and_nothing_is_written(made, tmp_path, name):
    path = zipped(made, tmp_path / "b.zip", [(name, "print(1)")])
    before = sorted(tmp_path.parent.rglob("*evil*"))
    refused(path, "has an entry")
    assert sorted(tmp_path.parent.rglob("*evil*")) == before


def test_links_doubles_and_bombs_in_zips_are_refused(made, tmp_path):
    link = zipfile.ZipInfo("decision.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(zipped(made, tmp_path / "l.zip", [(link, "/etc/passwd")]), "has the link")
    with pytest.warns(UserWarning, match="Duplicate"):
        double = zipped(made, tmp_path / "d.zip", [("bundle.json", "{}")])
    refused(double, "two entries of one name")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", bytes(9 * 2**20))
    refused(tmp_path / "bomb.zip", "of more than 8388608 bytes")


def test_a_file_that_is_no_zip_and_a_path_that_is_not_there(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 no more")
    refused(tmp_path / "x.zip", "cannot be read as a zip")
    refused(tmp_path / "none.zip", "does not exist")


@given(name=st.text(max_size=60))
@settings(max_examples=200)
def test_no_name_leads_out_of_the_folder(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp()
    with pytest.raises(BlastscopeError):
        Contents(folder / "nothing").read(name)


def test_a_changed_member_of_an_ensemble_is_noticed(bundles, tmp_path):
    made = shutil.copytree(bundles.ensemble, tmp_path / "e")
    shutil.copytree(made / "members" / "2", made / "members" / "1", dirs_exist_ok=True)
    refused(made, "is not the member that the bundle was made with")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_whose_length_cannot_be_bounded_is_not_unpacked(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", method) as archive:
        archive.writestr("bundle.json", "{}")
    refused(tmp_path / "b.zip", "is compressed in a way that blastscope does not read")


@pytest.mark.parametrize("change", [{"field": 100}, {"threshold": 9}, {"size": 64}])
def test_cells_are_never_prepared_otherwise_than_the_manifest_says(made, change):
    forge(made, lambda content: content["network"]["preparation"].update(change))
    refused(made, f"prepared in a way that this blastscope does not know .{next(iter(change))}")


@pytest.mark.parametrize(("rows", "logit"), [(2, 0.5), (1, np.nan)])
def test_a_graph_that_gives_what_is_no_number_for_each_cell_is_refused(made, rows, logit):
    import onnx
    from onnx import helper, numpy_helper

    import blastscope
    from tests.conftest import draw_cell

    model = onnx.load_from_string((made / "model.onnx").read_bytes())
    values = {"view_logits": np.full((rows, 1), logit), "p_all": np.full(rows, 0.5)}
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(v.astype("f4")))
        for name, v in values.items()
    ]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    replace_file(made, "model.onnx", model.SerializeToString())
    with pytest.raises(BlastscopeError, match="is not a finite number for each cell"):
        blastscope.load(made, engine="onnxruntime").predict(draw_cell(0, 60, 15))


def test_a_network_larger_than_its_weights_is_not_built(made):
    """65,536 neurons twice would be 17 GB, whatever is stored."""

    def grow(content):
        dense = {"dense": 65536, "activation": "relu"}
        content["network"]["recipe"]["model"]["head"] = ["flatten", dense, dense]

    forge(made, grow)
    with pytest.raises(BlastscopeError, match="weights that do not fit the network"):
        open_bundle(made).networks[0].classifier()


def test_weights_that_unpack_to_much_more_than_was_sent_are_not_unpacked(made, tmp_path):
    with zipfile.ZipFile(tmp_path / "w.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in made.iterdir():
            content = path.read_bytes()
            if path.name == "weights.safetensors":
                content = bytes(64 * 2**20)
            archive.writestr(path.name, content)
    assert (tmp_path / "w.zip").stat().st_size < 2**19
    refused(tmp_path / "w.zip", "has a weights.safetensors of more than")


def test_signs_that_a_terminal_obeys_are_written_out(made):
    forge(made, lambda content: content.update(title="\x1b]0;owned\x07 title"))
    assert open_bundle(made).manifest.title == r"\x1b]0;owned\x07 title"
