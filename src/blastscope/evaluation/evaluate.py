"""Judge a model from its predictions: the metrics of every part, one part in detail."""

from __future__ import annotations

import polars as pl

from blastscope.errors import BlastscopeError, listing
from blastscope.evaluation.confidence_intervals import intervals
from blastscope.evaluation.metrics import Metrics, compute_metrics
from blastscope.evaluation.overlap import part_overlap
from blastscope.evaluation.result import Evaluation
from blastscope.evaluation.sources import Source, readings
from blastscope.evaluation.subjects import subject_table
from blastscope.io.predictions import PARTS, SYNTHETIC_MARK, select_model


def judge(source: Source, part: str, model: str | None) -> Evaluation:
    """Compute the metrics of every labelled part, and look at one part in detail; write nothing.

    Raises:
        BlastscopeError: if the part or the model is not there, or has no labels.
    """
    table, name = select_model(source.predictions, source.where, model)
    cells = _labelled_part(table, part, source.where)
    parts = _metrics_by_part(table)
    protocol, checkpoint = source.metadata.get("protocol"), source.metadata.get("checkpoint")
    return Evaluation(
        model=name,
        part=part,
        parts=parts,
        intervals=intervals(
            (cells["label"] == "all").to_numpy(),
            cells["p_all"].to_numpy(),
            cells["subject"].to_list(),
        ),
        synthetic=source.metadata.get("synthetic") is True or name.endswith(SYNTHETIC_MARK),
        checkpoint=str(checkpoint) if checkpoint is not None else None,
        protocol=str(protocol) if protocol is not None else None,
        cells=cells,
        unlabelled=table.filter(pl.col("part") == part).height - cells.height,
        subjects=subject_table(cells),
        overlap=part_overlap(table, part, source.metadata),
        readings=readings([(source.where, source.metadata)]),
    )


def _labelled_part(table: pl.DataFrame, part: str, path: str) -> pl.DataFrame:
    if part not in PARTS:
        raise BlastscopeError(f"'{part}' is not a part of a split: choose {', '.join(PARTS)}.")
    rows = table.filter(pl.col("part") == part)
    if rows.is_empty():
        present = [name for name in PARTS if name in set(table["part"])]
        raise BlastscopeError(f"{path} has no {part} cells: it has {listing(present)}.")
    labelled = rows.filter(pl.col("label").is_not_null())
    if labelled.is_empty():
        raise BlastscopeError(
            f"{path} has no labels for its {rows.height} {part} cells, so nothing can be judged: "
            "fill the label column (all or hem) or choose another part."
        )
    return labelled


def _metrics_by_part(table: pl.DataFrame) -> dict[str, Metrics]:
    """Compute the metrics of every part that has labelled cells, in the order of ``PARTS``."""
    found = {}
    for part in PARTS:
        cells = table.filter((pl.col("part") == part) & pl.col("label").is_not_null())
        if not cells.is_empty():
            found[part] = compute_metrics(
                (cells["label"] == "all").to_numpy(),
                cells["p_all"].to_numpy(),
                cells["subject"].to_list(),
            )
    return found
