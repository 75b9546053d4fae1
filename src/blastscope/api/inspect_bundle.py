"""Inspect a bundle: what it is, what it is worth, and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from blastscope import DISCLAIMER
from blastscope.api.result import AnyPath, Result, TextTable, as_path, synthetic_of
from blastscope.box import in_the_box
from blastscope.bundle.manifest import Adaptation, SizeCurve
from blastscope.bundle.read import Bundle, open_bundle
from blastscope.report.adaptation_text import adaptation_lines, adaptation_rows, adapted_from
from blastscope.report.bundle_card import evaluated_on, interval_notes, metric_rows
from blastscope.report.decision_text import how_decided
from blastscope.report.generalization_text import doubt_text, generalization_text
from blastscope.report.size_curve_text import size_columns, size_rows, size_text
from blastscope.report.text import megabytes

_NO_DECISION = "It calls no cell ALL or normal: its probabilities are as the networks give them."


@dataclass(frozen=True, eq=False, repr=False)
class InspectResult(Result):
    """What a bundle is and is worth.

    Attributes:
        found: the bundle; every file fits its digest.
    """

    found: Bundle
    bytes: int
    synthetic = synthetic_of("found.manifest")

    @property
    def card(self) -> str:
        """The model card, in Markdown."""
        return self.found.card

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each network."""
        table = self._networks()
        return pl.DataFrame([dict(zip(table.columns, row, strict=True)) for row in table.rows])

    def as_json(self) -> dict[str, Any]:
        """Return the manifest."""
        return self.found.manifest.model_dump(mode="json", by_alias=True, exclude_none=True)

    def _networks(self) -> TextTable:
        return TextTable.of(
            ("network", "images", "kept scale", "views", "weights", "training cells", "subjects"),
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
                for network in self.found.networks
                if (own := network.manifest.network) is not None
            ],
        )

    def tables(self) -> list[TextTable]:
        """Return the networks, and the metrics of evaluations, other sizes and an adaptation."""
        evaluations = [
            TextTable.of(("metric", "value", "from", "to"), metric_rows(one), evaluated_on(one))
            for one in self.found.manifest.evaluations
        ]
        curve = size_tables(self.found.manifest.size_curve)
        adapted = adaptation_tables(self.found.manifest.adaptation)
        return [self._networks(), *evaluations, *curve, *adapted]

    def answers(self) -> list[str]:
        """Say what the bundle is, and that it is whole."""
        found, manifest = self.found, self.found.manifest
        worth = generalization_text(manifest)
        return [
            f"{worth} {doubt_text(manifest)}".rstrip(),
            f"{found.path}: {manifest.name}, {megabytes(self.bytes)}, whole ({found.digest[:19]})",
            f"{manifest.title}. Made by {manifest.made_by}.",
        ]

    def notes(self) -> list[str]:
        """Say how it decides, and what bounds its metrics."""
        manifest = self.found.manifest
        said: list[str] = []
        said += interval_notes(manifest)
        if manifest.size_curve is not None:
            said.append(size_text(manifest.size_curve))
        if manifest.adaptation is not None:
            said += [adapted_from(manifest.adaptation), *adaptation_lines(manifest.adaptation)]
        if manifest.note:
            said.append(manifest.note)
        by = self.found.decision
        return [*said, _NO_DECISION if by is None else how_decided(by), DISCLAIMER]


def size_tables(found: SizeCurve | None) -> list[TextTable]:
    """Return the metrics on smaller and larger cells, if they were measured."""
    if found is None:
        return []
    return [TextTable.of(size_columns(found), size_rows(found), evaluated_on(found))]


def adaptation_tables(found: Adaptation | None) -> list[TextTable]:
    """Return the metrics before and after an adaptation, if there was one."""
    if found is None:
        return []
    columns = ("adaptation, cells left out", "before", "after")
    return [TextTable.of(columns, adaptation_rows(found))]


def inspect_bundle(path: AnyPath | None = None) -> InspectResult:
    """Inspect a bundle, after comparing every file in it with its digest.

    Args:
        path: its folder or zip; without it the model that comes with blastscope.

    Returns:
        The networks, metrics and card.

    Raises:
        BlastscopeError: if it is not a bundle, or a file does not fit its digest.
    """
    found = open_bundle(as_path(path) or in_the_box())
    return InspectResult(found, found.verify())
