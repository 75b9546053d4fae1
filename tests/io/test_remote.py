"""Object stores, against moto's S3 server: the same results as from local files; no secret told."""

import os
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

import blastscope as bs
from blastscope.data.split_table import read_split
from blastscope.data.store import open_store
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import read_predictions
from blastscope.io.remote import download, exists, expand, upload, uploaded, url_of
from tests.conftest import draw_cell, write_cell

SECRET = "ThisIsASecret"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A bucket with a folder of twelve cells and a table of predictions of them."""
    root = tmp_path_factory.mktemp("local")
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "XDG_CACHE_HOME": str(root / "cache"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem().mkdir("cells")
        for k in range(12):
            label, subject = ("all", f"{k}") if k % 2 else ("hem", f"H{k}")
            file = root / "data" / label / f"UID_{subject}_{k}_1_{label}.bmp"
            write_cell(file, draw_cell(k, 120, 30 if k % 2 else 22))
        upload(root / "data", "s3://cells/data")
        yield root
    server.stop()


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("s3://a/b.csv", "s3://a/b.csv"),
        (Path("s3://a/b.csv"), "s3://a/b.csv"),
        ("abfs://c@account.dfs.core.windows.net/x", "abfs://c@account.dfs.core.windows.net/x"),
        ("s3", None),
        ("c:/cells", None),
        ("/gs/cells", None),
        (None, None),
    ],
)
def test_what_is_a_url(path, url):
    assert url_of(path) == url


URL = "s3://cells/x"


@pytest.mark.parametrize(
    "call",
    [
        lambda out: read_split(Path(f"{URL}.parquet")),
        lambda out: bs.train(f"{URL}.yaml", "store", "split.parquet", out=out),
        lambda out: bs.tune("demo/cnn-small", "store", "split.parquet", f"{URL}.yaml", out=out),
        lambda out: bs.verify(URL),
        lambda out: bs.verify(f"{URL}.zip"),
        lambda out: bs.check(URL),
        lambda out: bs.check(out.parent, labels=f"{URL}.csv"),
        lambda out: bs.compare([URL, "run"]),
        lambda out: bs.explain(URL, cells=["a"], data="cells", out=out),
        lambda out: bs.load(f"{URL}.zip"),
        lambda out: bs.inspect_bundle(f"{URL}.zip"),
        lambda out: bs.adapt("model.zip", labelled=URL, out=out),
        lambda out: bs.segment(out.parent, out=out, masks=URL),
        lambda out: bs.normalize_stain(out.parent, out=out, method="gcti", reference=f"{URL}.png"),
    ],
)
def test_a_url_where_none_is_read_is_called_one(call, tmp_path):
    """Nothing is asked of the store, and the URL keeps its two slashes."""
    write_cell(tmp_path / "all" / "UID_1_1_1_all.bmp", draw_cell(1, 120, 30))
    with pytest.raises(BlastscopeError, match=URL) as caught:
        call(tmp_path / "out")
    assert "copy it to a local disk" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_predictions_of_a_bucket_are_those_of_a_folder(bucket, tmp_path):
    table = "s3://cells/out/table.csv"
    bs.predict("s3://cells/data", out=table)
    bs.predict(bucket / "data", out=tmp_path / "table.csv")
    (tmp_path / "got").mkdir()
    assert download(table, tmp_path / "got").read_bytes() == (tmp_path / "table.csv").read_bytes()
    assert not list((bucket / "cache").rglob("table*"))
    with pytest.raises(BlastscopeError, match="exists already"):
        bs.predict("s3://cells/data", out=table)
    one = expand("s3://cells/data/all/UID_1_*.bmp")
    assert one == ["s3://cells/data/all/UID_1_1_1_all.bmp"]
    assert bs.predict(one[0]).to_frame()["file"].to_list() == one
    made = bs.predict_shards("s3://cells/data", out="s3://cells/shards", shard_cells=5)
    assert made.as_json()["path"] == "s3://cells/shards"
    shards = download("s3://cells/shards", tmp_path)
    assert len(read_predictions(shards)[0]) == 12
    for resumed in (0, 3):  # copies have the times of the originals
        made = bs.predict_shards("s3://cells/data", out=tmp_path / "local", shard_cells=5)
        assert made.found.resumed == resumed
    assert bs.evaluate(table).metrics == bs.evaluate(tmp_path / "table.csv").metrics


def test_what_comes_beside_a_table_is_refused_before_the_work(bucket, tmp_path):
    (tmp_path / "t-subjects.csv").write_text("subject\n1\n")
    upload(tmp_path / "t-subjects.csv", "s3://cells/beside/t-subjects.csv")
    done = []
    with pytest.raises(BlastscopeError, match=r"beside/t-subjects\.csv exists already"):
        bs.predict(
            "s3://cells/data", out="s3://cells/beside/t.csv", progress=lambda *k: done.append(k)
        )
    assert not done
    upload(tmp_path, "s3://cells/beside/u-fields")
    for force, out in ((False, "u.json"), (True, "u.csv")):  # old cells would stay among new ones
        with pytest.raises(BlastscopeError, match="u-fields exists already"):
            bs.predict("s3://cells/data", out=f"s3://cells/beside/{out}", fields=True, force=force)
    name = ["t-subjects.csv"]
    with uploaded("s3://cells/beside/t.csv", force=True, beside=name) as place:
        place.with_name("t-subjects.csv").write_text("subject\n2\n")
        place.write_text("cell\n")
    assert download("s3://cells/beside/t-subjects.csv", tmp_path).read_text() == "subject\n2\n"


def test_a_killed_call_replaces_what_it_copied_beside(bucket):
    url, name = "s3://cells/killed/t.csv", ["t-subjects.csv"]

    def killed():
        with uploaded(url, beside=name) as place:
            place.with_name("t-subjects.csv").write_text("half")
            upload(place.with_name("t-subjects.csv"), "s3://cells/killed/t-subjects.csv")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    with uploaded(url, beside=name) as place:
        place.write_text("cell\n")
    assert exists(url)


def test_a_store_of_a_bucket_is_local_and_the_same_the_second_time(bucket, tmp_path):
    made = bs.prepare("s3://cells/data", out=tmp_path / "store", size=32)
    bs.prepare(bucket / "data", out=tmp_path / "other", size=32)
    ours, theirs = open_store(tmp_path / "store"), open_store(tmp_path / "other")
    assert ours.cells.equals(theirs.cells)
    assert (ours.pixels[:] == theirs.pixels[:]).all()
    assert not made.made.already
    assert bs.prepare("s3://cells/data", out=tmp_path / "store", size=32).made.already
    with pytest.raises(BlastscopeError, match="memory-mapped"):
        bs.prepare(bucket / "data", out="s3://cells/store", size=32)
    with pytest.raises(BlastscopeError, match="memory-mapped"):
        open_store(Path("s3://cells/store"))


def test_nothing_half_is_written(bucket, tmp_path):
    with pytest.raises(BlastscopeError):
        bs.predict("s3://cells/data", model=tmp_path / "none", out="s3://cells/half/table.csv")
    assert not exists("s3://cells/half/table.csv")


@pytest.mark.parametrize(
    "url", ["s3://cells/none", "s3://none/at/all", f"s3://key:{SECRET}@cells/x", "gs://cells/x"]
)
def test_errors_are_one_sentence_without_a_secret(bucket, url, monkeypatch):
    there = url.startswith("s3")
    monkeypatch.setattr("blastscope.io.remote.find_spec", lambda name: there or None)
    with pytest.raises(BlastscopeError) as caught:
        bs.predict(url)
    assert SECRET not in str(caught.value)
    assert ("gcsfs" in str(caught.value)) is not there
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET
