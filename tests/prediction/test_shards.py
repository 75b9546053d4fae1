"""Tars and tables in shards: the same cells and predictions as from files and in one table."""

import io
import json
import os
import shutil
import tarfile

import polars as pl
import pytest
from webdataset import TarWriter

import blastscope as bs
from blastscope.box import in_the_box
from blastscope.data.check import check
from blastscope.data.layouts import list_cells
from blastscope.data.store import open_store
from blastscope.data.tars import read_tar
from blastscope.errors import BlastscopeError
from blastscope.evaluation.sources import open_source
from blastscope.io.predictions import read_predictions
from tests.conftest import draw_cell, write_cell


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Twenty cells as files, and the same in two tars, with labels and subjects in their JSON."""
    root = tmp_path_factory.mktemp("cells")
    for number in range(2):
        with TarWriter(str(root / f"shard-{number}.tar")) as tar:
            for k in range(10 * number, 10 * number + 10):
                label, subject = ("all", f"A{k % 3}") if k % 2 else ("hem", f"N{k % 3}")
                file = root / "files" / label / f"{k:03}.bmp"
                write_cell(file, draw_cell(k, 120, 30 if k % 2 else 22))
                about = {"label": label, "subject": subject}
                tar.write({"__key__": f"{k:03}", "bmp": file.read_bytes(), "json": about})
    return root


def tars(root):
    return [root / "shard-0.tar", root / "shard-1.tar"]


def test_a_store_of_tars_is_that_of_their_files(cells, tmp_path):
    bs.prepare(tars(cells), out=tmp_path / "tars", size=32)
    bs.prepare(cells / "files", out=tmp_path / "files", size=32)
    ours, theirs = open_store(tmp_path / "tars"), open_store(tmp_path / "files")
    for column in ("cell", "label", "pixels", "x", "w"):
        if column in ours.cells.columns:
            assert ours.cells[column].equals(theirs.cells[column]), column
    assert (ours.pixels[:] == theirs.pixels[:]).all()
    assert ours.cells["subject"].n_unique() == 6


def test_cells_of_one_name_in_two_tars_are_told_apart_as_in_one_table(tmp_path):
    for number in range(2):
        with TarWriter(str(tmp_path / f"{number}.tar")) as tar:
            for k in range(2 + number):
                file = tmp_path / f"{number}-{k}.bmp"
                write_cell(file, draw_cell(2 * number + k, 120, 30))
                tar.write(
                    {"__key__": f"{k:03}", "bmp": file.read_bytes(), "json": {"label": "all"}}
                )
    both = [tmp_path / "0.tar", tmp_path / "1.tar"]
    bs.predict_shards(both, out=tmp_path / "out", shard_cells=3)  # of both tars
    frame, _ = read_predictions(tmp_path / "out")
    one = bs.predict(both).to_frame()
    assert frame["p_all"].to_list() == one["p_all"].to_list()
    assert frame["cell"].to_list() == one["cell"].to_list()
    assert frame["cell"].str.split("/").list.last().to_list() == ["000", "001", "000", "001", "002"]
    assert frame["cell"].n_unique() == 5
    assert open_source(tmp_path / "out").predictions.height == 5


def test_verify_finds_a_shard_that_was_changed_also_after_the_same_command(cells, tmp_path):
    out = tmp_path / "shards"
    bs.predict_shards(tars(cells), out=out, shard_cells=8)
    assert not bs.verify(out).failed
    metadata = pl.read_parquet_metadata(out / "shard-000002.parquet")
    told = {"blastscope": metadata["blastscope"]}
    other = pl.read_parquet(out / "shard-000002.parquet").with_columns(p_all=1 - pl.col("p_all"))
    other.write_parquet(out / "shard-000002.parquet", metadata=told)
    for _ in range(2):
        assert [one.name for one in bs.verify(out).found.items if one.fails] == [
            "shard-000002.parquet"
        ]
        bs.predict_shards(tars(cells), out=out, shard_cells=8)


def test_predictions_in_parts_are_those_of_one_table(cells, tmp_path):
    out = tmp_path / "shards"
    made = bs.predict_shards(tars(cells), out=out, shard_cells=8)
    one = bs.predict(cells / "files").to_frame()
    frame, metadata = read_predictions(out)
    assert [path.name for path in sorted(out.glob("shard-*"))] == [
        f"shard-00000{k}.parquet" for k in range(3)
    ]
    assert frame["cell"].to_list() == one["cell"].to_list()
    assert frame["p_all"].to_list() == one["p_all"].to_list()
    assert frame["label"].to_list() == one["label"].to_list()
    assert metadata["synthetic"] is False
    assert made.found.counts.cells == 20
    assert open_source(out).predictions["cell"].equals(frame["cell"])
    # A killed call goes on: what is there stays, what is missing comes back the same.
    before = {path: path.read_bytes() for path in out.glob("shard-*")}
    last = out / "shard-000001.parquet"
    last.unlink()
    again = bs.predict_shards(tars(cells), out=out, shard_cells=8)
    assert again.found.resumed == 2
    assert {path: path.read_bytes() for path in out.glob("shard-*")} == before
    assert again.found.counts == made.found.counts
    with pytest.raises(BlastscopeError, match="differs in"):
        bs.predict_shards(tars(cells), out=out, shard_cells=9)


def written(path, *entries):
    with tarfile.open(path, "w") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_labels_are_not_guessed(tmp_path):
    image = (("a.png", b"x"),)
    by_number = read_tar(written(tmp_path / "a.tar", *image, ("a.cls", b"1")))
    assert not by_number.known.rows
    assert by_number.known.notes
    by_word = read_tar(written(tmp_path / "b.tar", *image, ("a.cls", b"hem\n")))
    assert by_word.known.rows["a.png"].label == "hem"
    for about in (b'{"label": 1}', b"[1]", b"{", b'{"label": "cat"}'):
        with pytest.raises(BlastscopeError):
            read_tar(written(tmp_path / "c.tar", *image, ("a.json", about)))
    both = (("a.cls", b"all"), ("a.json", json.dumps({"label": "hem"}).encode()))
    with pytest.raises(BlastscopeError):
        read_tar(written(tmp_path / "d.tar", *image, *both))
    both = (("a.json", b'{"subject": "7"}'), ("a.x.json", b'{"subject": "8"}'))
    with pytest.raises(BlastscopeError):
        read_tar(written(tmp_path / "d.tar", *image, *both))


def test_bad_tars_and_entries_are_told(tmp_path):
    (tmp_path / "no.tar").write_bytes(b"not a tar" * 100)
    with pytest.raises(BlastscopeError):
        list_cells([tmp_path / "no.tar"])
    cut = written(tmp_path / "cut.tar", ("a.png", b"x" * 5000))
    cut.write_bytes(cut.read_bytes()[:1500])
    with pytest.raises(BlastscopeError):
        bs.predict(cut)
    outside = tmp_path.parent / "x.bmp"  # an entry that leads elsewhere is only a name
    write_cell(tmp_path / "inside.bmp", draw_cell(1, 120, 30))
    content = (tmp_path / "inside.bmp").read_bytes()
    bs.predict(written(tmp_path / "e.tar", ("../x.bmp", content)))
    assert not outside.exists()


def test_what_is_not_whole_in_a_tar_is_not_used_and_not_passed_over(tmp_path):
    """A link has no bytes; those of a sparse file lack its holes, and others would follow."""
    write_cell(tmp_path / "a.bmp", draw_cell(1, 120, 30))
    image = (tmp_path / "a.bmp").read_bytes()
    with tarfile.open(tmp_path / "t.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind in (("a.bmp", None), ("b.bmp", tarfile.LNKTYPE), ("c.bmp", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            if kind is None:
                info.size = len(image)
                tar.addfile(info, io.BytesIO(image))
            else:
                info.type, info.linkname = kind, "a.bmp"
                tar.addfile(info)
        packed = f"1\n0\n{2000}\n".encode().ljust(512, b"\0") + image[:2000]  # a hole follows
        info = tarfile.TarInfo("GNUSparseFile.0/d.bmp")
        info.size = len(packed)
        real = {"major": "1", "minor": "0", "name": "d.bmp", "realsize": str(len(image))}
        info.pax_headers = {f"GNU.sparse.{key}": value for key, value in real.items()}
        tar.addfile(info, io.BytesIO(packed))
        tar.addfile(tarfile.TarInfo("z.bmp"), io.BytesIO())
    unusable = {problem.file: problem.kind for problem in check([tmp_path / "t.tar"]).unusable}
    assert unusable == {
        "b.bmp": "link", "c.bmp": "link", "d.bmp": "packed", "z.bmp": "unreadable",
    }  # fmt: skip


def folders(root, *counts):
    """Folders a, b, … of cells 0.bmp, 1.bmp, …, no two of them alike."""
    made = [root / name for name in "abcd"[: len(counts)]]
    for number, (folder, count) in enumerate(zip(made, counts, strict=True)):
        for k in range(count):
            write_cell(folder / f"{k}.bmp", draw_cell(10 * number + k, 120, 22 + 4 * (k % 3)))
    return made


@pytest.mark.parametrize("cells", [1, 2, 3, 4, 9])
def test_names_do_not_follow_from_where_shards_are_cut(tmp_path, cells):
    a, b, c = folders(tmp_path, 3, 2, 1)
    tars = [tmp_path / name / "t.tar" for name in "xy"]
    for tar, folder in zip(tars, (a, b), strict=True):
        tar.parent.mkdir()
        written(tar, ("0.bmp", (folder / "1.bmp").read_bytes()))
    write_cell(tmp_path / "abc" / "a0.bmp", draw_cell(40, 120, 30))  # begins like the folder a
    inputs, out = [a, b, *tars, c / "0.bmp", tmp_path / "abc"], tmp_path / "out"
    bs.predict_shards(inputs, out=out, shard_cells=cells)
    frame, metadata = read_predictions(out)
    one = bs.predict(inputs).to_frame()
    for column in ("cell", "file", "subject", "label"):
        assert frame[column].to_list() == one[column].to_list(), column
    assert frame["p_all"].to_list() == pytest.approx(one["p_all"].to_list(), abs=1e-5)
    assert not {"counts", "images", "renamed"} & set(metadata)
    for shard in out.glob("shard-*"):  # each is a table by itself
        assert read_predictions(shard)[0]["cell"].is_unique().all()


def test_doubles_within_an_input_and_between_inputs(tmp_path):
    for k, file in enumerate(("a/0.bmp", "a/x/0.png", "b/0.bmp", "b/x/0.png", "b/1.bmp")):
        write_cell(tmp_path / file, draw_cell(k, 120, 30))
    found = []
    for cells in (1, 2, 3, 5):
        bs.predict_shards([tmp_path / "a", tmp_path / "b"], out=tmp_path / "out", shard_cells=cells)
        found.append(read_predictions(tmp_path / "out")[0]["cell"].to_list())
        shutil.rmtree(tmp_path / "out")
    assert found == [found[0]] * 4
    assert len(set(found[0])) == 5


def test_an_image_does_not_count_twice(tmp_path, monkeypatch):
    (folder,), out = folders(tmp_path, 2), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    for twice in (["a", folder], ["a", "a/0.bmp"], [".", "a"], ["a/0.bmp", "./a/0.bmp"]):
        with pytest.raises(BlastscopeError):
            bs.predict_shards(twice, out=out)
        assert not out.exists()
    written(folder / "t.tar", ("2.bmp", (folder / "0.bmp").read_bytes()))
    bs.predict_shards(["a", "a/t.tar"], out=out)  # the folder's images, and those of the tar
    assert read_predictions(out)[0].height == 3
    bs.predict_shards(["a/*.bmp", "a/0*"], out=tmp_path / "patterns", shard_cells=2)
    with pytest.raises(BlastscopeError, match="more than once"):
        read_predictions(tmp_path / "patterns")


def test_shards_of_an_image_that_changed_or_another_decision_are_not_gone_on_with(tmp_path):
    both, out = folders(tmp_path, 2, 2), tmp_path / "out"
    decision = tmp_path / "decision.json"
    model, told = in_the_box(), json.loads((in_the_box() / "decision.json").read_text())
    decision.write_text(json.dumps(told))

    def call():
        return bs.predict_shards(both, model, out=out, shard_cells=2, decision=decision)

    call()
    assert call().found.resumed == 2
    shards = {path: path.read_bytes() for path in out.iterdir()}
    image, before = both[0] / "0.bmp", (both[0] / "0.bmp").read_bytes()
    time = image.stat().st_mtime_ns
    write_cell(image, draw_cell(77, 120, 30))
    with pytest.raises(BlastscopeError):
        call()
    image.write_bytes(before)
    os.utime(image, ns=(time, time))
    assert call().found.resumed == 2
    told["decision"]["point"]["threshold"] += 0.01
    decision.write_text(json.dumps(told))
    with pytest.raises(BlastscopeError, match="decision"):
        call()
    assert {path: path.read_bytes() for path in out.iterdir()} == shards


def test_a_folder_of_an_older_version_is_refused_and_still_read(tmp_path):
    (folder,), out = folders(tmp_path, 2), tmp_path / "out"
    bs.predict_shards(folder, out=out, shard_cells=2)
    marker = json.loads((out / "predictions.json").read_text())
    marker["identity"].pop("decision")
    marker["format"] = "blastscope-prediction-shards/1"
    (out / "predictions.json").write_text(json.dumps(marker))
    assert read_predictions(out)[0].height == 2
    with pytest.raises(BlastscopeError, match="older"):
        bs.predict_shards(folder, out=out, shard_cells=2)


def test_a_folder_that_grows_is_unfinished_until_it_is_whole_again(tmp_path):
    (folder,), out = folders(tmp_path, 2), tmp_path / "out"
    bs.predict_shards(folder, out=out, shard_cells=2)
    for k in range(2, 6):
        write_cell(folder / f"{k}.bmp", draw_cell(k, 120, 30))

    def kill(done, _total):
        assert done == 4
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bs.predict_shards(folder, out=out, shard_cells=2, progress=kill)
    assert len(list(out.glob("shard-*"))) == 2
    with pytest.raises(BlastscopeError, match="not finished"):
        read_predictions(out)
    assert bs.predict_shards(folder, out=out, shard_cells=2).found.resumed == 2
    assert read_predictions(out)[0].height == 6
    assert not bs.verify(out).failed
