"""What ``serve`` refuses before it listens, and the addresses that it tells."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from blastscope.errors import BlastscopeError
from blastscope.workbench.security import headers
from blastscope.workbench.server import Transport, _listen, base_address, make_settings


@pytest.fixture
def pem(tmp_path) -> Path:
    path = tmp_path / "file.pem"
    path.write_text("not read here")
    return path


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
    assert (made.secure, made.loopback) == (True, False)
    assert "lab.example" in made.names


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
