"""``blastscope inspect``: what a bundle is, and whether it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import AsJson
from blastscope.cli.output import note, print_table, say

if TYPE_CHECKING:
    from blastscope.bundle.read import Bundle


def inspect(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            metavar="[BUNDLE]", help="A bundle's folder or zip; without it the model in the box."
        ),
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Print its model card instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a bundle is and is worth, after holding every file in it against its digest."""
    from blastscope.box import in_the_box
    from blastscope.bundle.read import open_bundle

    found = open_bundle(bundle or in_the_box())
    size = found.verify()
    if as_json:
        say(found.manifest.model_dump_json(indent=2, by_alias=True, exclude_none=True))
    elif card:
        say(found.card)
    else:
        _show(found, size)


def _show(found: Bundle, size: int) -> None:
    from blastscope import DISCLAIMER
    from blastscope.report.bundle_card import SYNTHETIC, figure_rows, which
    from blastscope.report.prediction_text import how_decided

    manifest = found.manifest
    say(f"{found.path}: {manifest.name}, {size / 1e6:.1f} MB, whole ({found.digest[:19]})")
    say(f"{manifest.title}. Made by {manifest.made_by}.")
    if manifest.synthetic:
        note(SYNTHETIC)
    print_table(
        ("network", "images", "kept scale", "views", "weights", "training cells", "persons"),
        [
            (
                network.recipe.model.backbone,
                network.settings.size,
                "yes" if network.settings.scale == "keep" else "no",
                network.recipe.prediction.views,
                own.precision,
                sum(own.data.cells.get("train", {}).values()),
                sum(own.data.subjects.values()),
            )
            for network in found.networks
            if (own := network.manifest.network) is not None
        ],
    )
    for judged in manifest.evaluations:
        say(which(judged))
        print_table(("figure", "value", "from", "to"), figure_rows(judged))
    for sentence in dict.fromkeys(judged.intervals for judged in manifest.evaluations):
        note(f"Intervals: {sentence}")
    if manifest.note:
        note(manifest.note)
    note(
        "It calls nothing: probabilities as the networks give them."
        if found.decision is None
        else how_decided(found.decision)
    )
    note(DISCLAIMER)
