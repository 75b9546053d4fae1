"""The verb that serves the workbench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, argument, option
from blastscope.cli.output import note, say, show_json

if TYPE_CHECKING:
    from blastscope.api.serve import Serving


def serve(
    bundle: Annotated[
        Path | None,
        argument(
            "A bundle's folder or zip; without it the model that comes with blastscope.", "BUNDLE"
        ),
    ] = None,
    folder: Annotated[
        Path,
        option("Where cases are kept; it is made if it is not there.", "DIR"),
    ] = Path("blastscope-workbench"),
    demo: Annotated[
        bool, option("Open a demo case of 200 synthetic cells.", name="--demo")
    ] = False,
    port: Annotated[int, option("The port to listen at; 0 takes a free one.", min=0)] = 8400,
    host: Annotated[
        str, option("The address to listen at; other machines can reach it only with TLS.")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None,
        option("A name under which browsers reach it, such as lab.example; once for each.", "NAME"),
    ] = None,
    tls_cert: Annotated[
        Path | None, option("The certificate, PEM, to speak HTTPS.", "FILE")
    ] = None,
    tls_key: Annotated[Path | None, option("The certificate's key, PEM.", "FILE")] = None,
    behind_proxy: Annotated[
        bool, option("A proxy that speaks HTTPS stands before it.", name="--behind-proxy")
    ] = False,
    database: Annotated[
        str | None,
        typer.Option(
            help="The URL of a PostgreSQL database; without it SQLite in the folder.",
            metavar="URL",
            envvar="BLASTSCOPE_DATABASE",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        option(
            "A store of labelled cells, prepared for the model: the most similar of them are shown "
            "beside a cell.",
            "STORE",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve the workbench: review a model's calls in the browser."""

    def tell(started: Serving) -> None:
        if as_json:
            show_json(
                {
                    "address": started.address,
                    "folder": str(started.folder),
                    "database": started.database,
                    "model": started.model,
                }
            )
            return
        say(started.address)
        note(f"Open this address in a browser; it signs in once, as an admin. {bs.DISCLAIMER}")
        if started.nobody:
            note("Nobody else can sign in yet: add people on the page Admin.")
        note(f"Cases are kept in {started.folder}. Model: {started.model}. Ctrl-C ends it.")

    bs.serve(
        bundle,
        folder,
        host=host,
        port=port,
        names=name or (),
        database=database,
        tls_cert=tls_cert,
        tls_key=tls_key,
        behind_proxy=behind_proxy,
        reference=reference,
        demo=demo,
        on_start=tell,
    )
