"""Serve the workbench, in which people review the calls of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from blastscope.api.result import AnyPath, as_path
from blastscope.errors import BlastscopeError

if TYPE_CHECKING:
    from blastscope.workbench.server import Serving as Serving

_PACKAGES = ("alembic", "fastapi", "limits", "pwdlib", "secure", "sqlalchemy", "uvicorn")
"""What the extra ``serve`` installs."""


def serve(
    model: AnyPath | None = None,
    folder: AnyPath | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8400,
    names: Sequence[str] = (),
    database: str | None = None,
    tls_cert: AnyPath | None = None,
    tls_key: AnyPath | None = None,
    behind_proxy: bool = False,
    reference: AnyPath | None = None,
    demo: bool = False,
    on_start: Callable[[Serving], None] | None = None,
) -> None:
    """Serve the workbench until interrupted.

    Args:
        model: a bundle; without it the model that comes with blastscope.
        folder: where cases are kept; ``blastscope-workbench`` in the current folder without it.
        host: the address to listen at; others than this machine's own need encryption.
        port: the port to listen at; 0 takes a free one.
        names: further names under which browsers reach it.
        database: the URL of a PostgreSQL database; without it SQLite in the folder.
        tls_cert, tls_key: files of a certificate and its key, PEM, to speak HTTPS.
        behind_proxy: whether a proxy that speaks HTTPS stands before it.
        reference: a store of labelled cells, prepared for the model: the most similar of them are
            shown beside a cell.
        demo: whether to open a demo case of 200 synthetic cells.
        on_start: called with the address to open, once requests are answered.

    Raises:
        BlastscopeError: if the extra ``serve`` is not installed, the port is taken, another
            process serves the folder, the database or the model cannot be opened, or the reference
            has no labels or another preparation than the model.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise BlastscopeError(
            f"The workbench needs {', '.join(missing)}: install it with "
            "pip install 'blastscope[serve]'."
        )
    from blastscope.workbench.server import Transport, make_settings
    from blastscope.workbench.server import serve as serve_workbench

    transport = Transport(as_path(tls_cert), as_path(tls_key), behind_proxy)
    settings = make_settings(
        as_path(model), as_path(folder), host, port, names, database, transport, as_path(reference)
    )
    serve_workbench(settings, transport, demo, on_start)
