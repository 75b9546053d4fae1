"""Serve a workbench: check the settings, open it, start the worker, answer requests."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from blastscope.box import in_the_box
from blastscope.errors import BlastscopeError
from blastscope.io.files import only_one
from blastscope.workbench.app import create_app
from blastscope.workbench.backup import check_restored
from blastscope.workbench.context import Workbench
from blastscope.workbench.demo import demo_case
from blastscope.workbench.models import find_model, open_bundled
from blastscope.workbench.people import anybody_signs_in, local_person, who
from blastscope.workbench.settings import LOOPBACK, Settings
from blastscope.workbench.store.database import sqlite_url

FOLDER = Path("blastscope-workbench")
"""Where cases are kept if no folder is given."""
PORT = 8400
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*|[0-9A-Fa-f:]+")


@dataclass(frozen=True)
class Transport:
    """How browsers reach the workbench from other machines."""

    certificate: Path | None = None  # files of TLS
    key: Path | None = None
    behind_proxy: bool = False  # whether a proxy that speaks HTTPS stands before it

    @property
    def secure(self) -> bool:
        """Whether browsers speak HTTPS."""
        return self.certificate is not None or self.behind_proxy


@dataclass(frozen=True)
class Serving:
    """What is being served, for whoever started it."""

    address: str  # to open in a browser; it signs in once
    folder: Path
    database: str  # without a password
    model: str
    nobody: bool  # whether people at other machines could sign in, and nobody is known yet


def make_settings(
    model: Path | None,
    folder: Path | None,
    host: str,
    port: int,
    names: Sequence[str],
    database: str | None,
    transport: Transport,
    reference: Path | None = None,
) -> Settings:
    """Check what was asked for.

    Raises:
        BlastscopeError: if the port is out of range, a name is not one of a host, or another
            machine could reach the workbench without encryption.
    """
    place = (folder or FOLDER).absolute()
    if not 0 <= port < 65536:
        raise BlastscopeError(f"{port} is not a port: give one from 1024 to 65535.")
    if host not in LOOPBACK and not transport.secure:
        raise BlastscopeError(
            f"{host} can be reached from other machines, and passwords would cross the network "
            "unprotected: give --tls-cert and --tls-key, or --behind-proxy if a proxy speaks HTTPS."
        )
    if (transport.certificate is None) != (transport.key is None):
        raise BlastscopeError("TLS needs both files: give --tls-cert and --tls-key.")
    for file in (transport.certificate, transport.key):
        if file is not None and not file.is_file():
            raise BlastscopeError(f"{file} does not exist: give a file in PEM format.")
    if host not in LOOPBACK and not names:
        raise BlastscopeError(
            "Give the name under which browsers reach the workbench, such as --name lab.example."
        )
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise BlastscopeError(
                f"{name!r} is not a host name: give what stands between https:// and the first "
                "slash or colon, such as --name lab.example."
            )
    models = (in_the_box(),) if model is None else (model.absolute(),)
    return Settings(
        folder=place, database=database or sqlite_url(place), models=models, host=host, port=port,
        names=(*LOOPBACK, *names), secure=transport.secure,
        behind_proxy=transport.behind_proxy,
        reference=None if reference is None else reference.absolute(),
    )  # fmt: skip


def serve(
    settings: Settings,
    transport: Transport,
    demo: bool,
    on_start: Callable[[Serving], None] | None,
) -> None:
    """Serve until interrupted.

    Raises:
        BlastscopeError: if the port is taken, another process serves the folder, the certificate,
            the database or the model can't be opened, or the folder holds half a backup.
    """
    _check_certificate(transport)
    check_restored(settings)
    open_bundled(settings.models)  # refused before a folder is made for it
    with only_one(settings.folder / "workbench"):
        listening = _listen(settings.host, settings.port)
        try:
            bench = Workbench(settings)
            _run(bench, listening, transport, demo, on_start)
        finally:
            listening.close()


def _check_certificate(transport: Transport) -> None:
    """Refuse files that no browser could be answered with, before anything is opened."""
    if transport.certificate is None or transport.key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            transport.certificate, transport.key, password=_no_password
        )
    except (ssl.SSLError, OSError, ValueError) as error:
        raise BlastscopeError(
            f"{transport.certificate} and {transport.key} are not a certificate and its key "
            f"({_why(error)}): give both in PEM format, the key without a password."
        ) from error


def _no_password() -> str:
    """Stand for the password that nobody is asked for."""
    raise ValueError("the key needs a password")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):  # its own text names lines of OpenSSL
        return (error.reason or "they cannot be read").lower().replace("_", " ")
    return str(error)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(256)
    except socket.gaierror as error:
        listening.close()
        raise BlastscopeError(
            f"{host} is not an address of this computer ({error.strerror}): give another --host."
        ) from error
    except OSError as error:
        listening.close()
        raise BlastscopeError(
            f"Port {port} of {host} cannot be used ({error.strerror}): give another --port."
        ) from error
    return listening


def _run(
    bench: Workbench,
    listening: socket.socket,
    transport: Transport,
    demo: bool,
    on_start: Callable[[Serving], None] | None,
) -> None:
    if demo:
        _open_demo(bench)
    bench.worker.start()
    if on_start is not None:
        on_start(_serving(bench, listening, transport))
    config = uvicorn.Config(
        create_app(bench), log_level="warning", server_header=False, date_header=True,
        proxy_headers=transport.behind_proxy, timeout_graceful_shutdown=3,
        ssl_certfile=transport.certificate, ssl_keyfile=transport.key, timeout_keep_alive=30,
    )  # fmt: skip
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:  # the way to end it
        pass
    finally:
        bench.close()


def _open_demo(bench: Workbench) -> None:
    with bench.database.write() as session:
        demo_case(session, who(local_person(session)), find_model(session, bench.model_id))


def _serving(bench: Workbench, listening: socket.socket, transport: Transport) -> Serving:
    settings = bench.settings
    with bench.database.read() as session:
        name = find_model(session, bench.model_id).name
        others = transport.behind_proxy or not settings.loopback
        nobody = others and not anybody_signs_in(session)
    base = base_address(settings, listening.getsockname()[1], transport)
    address = f"{base}/launch?token={bench.launch_token()}"
    return Serving(address, settings.folder, bench.database.told, name, nobody)


def base_address(settings: Settings, port: int, transport: Transport) -> str:
    """Return the address at which browsers reach the workbench, without a slash at its end."""
    scheme = "https" if transport.secure else "http"
    names = settings.names[len(LOOPBACK) :]
    host = (
        names[0] if names and (transport.behind_proxy or not settings.loopback) else settings.host
    )
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" if transport.behind_proxy else f"{scheme}://{host}:{port}"
