"""What ``serve`` refuses before it listens, and the addresses that it tells."""

from __future__ import annotations

import errno
import json
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from blastscope.errors import BlastscopeError
from blastscope.workbench.backup import FORMAT, check_restored
from blastscope.workbench.security import headers
from blastscope.workbench.server import Transport, _listen, base_address, make_settings, serve
from blastscope.workbench.store.database import FILE, Database


@pytest.fixture
def pem(tmp_path) -> Path:
    path = tmp_path / "file.pem"
    path.write_text("not read here")
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """The folder of a workbench is in the current one: not in that of the tests."""
    monkeypatch.chdir(tmp_path)


def settings(host="127.0.0.1", names=(), transport=Transport(), port=8400):  # noqa: B008
    return make_settings(None, None, host, port, names, None, transport)


def test_other_machines_need_encryption_and_a_name(pem):
    with pytest.raises(BlastscopeError, match="unprotected"):
        settings("0.0.0.0", ["lab.example"])
    with pytest.raises(BlastscopeError, match="--name"):
        settings("0.0.0.0", [], Transport(behind_proxy=True))
    with pytest.raises(BlastscopeError, match="both files"):
        settings(transport=Transport(certificate=pem))
    with pytest.raises(BlastscopeError, match="does not exist"):
        settings(transport=Transport(pem, pem.with_name("missing.pem")))
    with pytest.raises(BlastscopeError, match="not a port"):
        settings(port=70_000)
    made = settings("0.0.0.0", ["lab.example"], Transport(pem, pem))
    assert (made.secure, made.loopback, made.behind_proxy) == (True, False, False)
    assert settings(transport=Transport(behind_proxy=True)).behind_proxy
    assert "lab.example" in made.names


@pytest.mark.parametrize(
    "name", ["https://lab.example", "lab.example:8443", "lab.example/x", "a b", "", "-a"]
)
def test_a_name_is_only_the_hosts(name):
    with pytest.raises(BlastscopeError, match="not a host name"):
        settings("0.0.0.0", [name], Transport(behind_proxy=True))


def test_files_that_are_no_certificate_are_refused_before_anything_opens(pem):
    transport = Transport(pem, pem)
    made = settings(transport=transport)
    with pytest.raises(BlastscopeError, match="not a certificate and its key"):
        serve(made, transport, demo=False, on_start=None)
    assert not made.folder.exists()


def test_a_wrong_model_leaves_no_folder(tmp_path):
    wrong = tmp_path / "model.zip"
    wrong.write_bytes(b"no bundle")
    made = make_settings(wrong, None, "127.0.0.1", 0, (), None, Transport())
    with pytest.raises(BlastscopeError):
        serve(made, Transport(), demo=False, on_start=None)
    assert not made.folder.exists()


@pytest.mark.parametrize(
    ("named", "kept", "missing"),
    [
        (None, ["images/ab/x"], "--database"),
        (FILE, ["images/ab/x"], "lacks workbench.sqlite"),
        (FILE, [FILE], "lacks the images"),
    ],
)
def test_half_a_backup_is_not_served_as_an_empty_workbench(tmp_path, named, kept, missing):
    about = {"format": FORMAT, "database": named, "images": 1}
    (tmp_path / "backup.json").write_text(json.dumps(about))
    for name in kept:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    made = make_settings(None, tmp_path, "127.0.0.1", 0, (), None, Transport())
    with pytest.raises(BlastscopeError, match=missing):
        check_restored(made)
    elsewhere = replace(made, database="postgresql+psycopg://name@host/x")
    if named is None:
        check_restored(elsewhere)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://name:secret@host/x", "mysql is not supported"),
        ("nonsense", "cannot be opened"),
        ("postgresql+nothing://name:secret@host/x", "cannot be opened"),
    ],
)
def test_a_database_that_cannot_be_is_one_sentence(url, told):
    with pytest.raises(BlastscopeError, match=told) as caught:
        Database(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_host_that_is_not_here_is_told_apart_from_a_port():
    with pytest.raises(BlastscopeError, match="another --host"):
        _listen("nowhere.invalid", 0)


@pytest.mark.parametrize(
    ("host", "names", "proxy", "address"),
    [
        ("127.0.0.1", (), False, "http://127.0.0.1:8400"),
        ("::1", (), False, "http://[::1]:8400"),
        ("0.0.0.0", ("lab.example",), True, "https://lab.example"),
        ("127.0.0.1", ("lab.example",), True, "https://lab.example"),
        ("127.0.0.1", ("lab.example",), False, "http://127.0.0.1:8400"),
    ],
)
def test_the_address_is_one_that_a_browser_reaches(host, names, proxy, address):
    transport = Transport(behind_proxy=proxy)
    assert base_address(settings(host, names, transport), 8400, transport) == address


def test_browsers_are_told_to_keep_to_https_only_where_it_is_spoken():
    plain = headers(settings()).headers
    assert "Strict-Transport-Security" not in plain
    behind = headers(settings("0.0.0.0", ["lab.example"], Transport(behind_proxy=True))).headers
    assert "max-age=31536000" in behind["Strict-Transport-Security"]


def test_a_port_that_is_taken_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BlastscopeError, match=f"Port {port} .* another --port"):
            _listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("made", "folder", "told"),
    [
        ("file", "file", "cannot be written"),
        ("file", "file/new", "cannot be written"),
        ("bench/images", "bench", "images cannot be written"),
        ("bench/incoming", "bench", "incoming cannot be written"),
        ("bench/incoming/a.part/file", "bench", "a.part cannot be written"),
        ("file", "n" * 300, "cannot be read"),
    ],
)
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, made, folder, told):
    place = tmp_path / made
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"a file where a folder should be")
    refuse_to_serve(tmp_path / folder, told)


@pytest.mark.parametrize("name", ["images", "incoming"])
def test_a_folder_of_images_that_is_read_only_is_told_before_files_are_sent(
    tmp_path, monkeypatch, name
):
    (tmp_path / name).mkdir()
    real = tempfile.TemporaryFile

    def refuse(*, dir):
        if Path(dir).name == name:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    refuse_to_serve(tmp_path, f"{name} cannot be written")


def refuse_to_serve(folder: Path, told: str) -> None:
    made = make_settings(None, folder, "127.0.0.1", 0, (), None, Transport())
    with pytest.raises(BlastscopeError, match=told) as caught:
        serve(made, Transport(), demo=False, on_start=None)
    assert "\n" not in str(caught.value)
