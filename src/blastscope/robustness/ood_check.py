"""Check a model's out-of-distribution flag: on cells, and on images that are not cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from blastscope.data.names import ALL, HEM


@dataclass(frozen=True)
class Kind:
    """One kind of images that are not cells.

    Attributes:
        kind: what they are.
        images: how many, over all networks of the model.
        auroc: how well the OOD score tells them from cells: 1 perfectly, .5 not at all.
        flagged: share of them that is flagged.
    """

    kind: str
    images: int
    auroc: float
    flagged: float


@dataclass(frozen=True)
class OodCheck:
    """The shares of images that a model flags as out-of-distribution.

    Attributes:
        flagged: share of the cells that are flagged, though they are cells.
        by_class: the same for each class.
        worst: the subject with the highest share, its share and its number of cells; None if no
            cell names its subject.
        kinds: images that are not cells.
    """

    flagged: float
    by_class: dict[str, float]
    worst: tuple[str, float, int] | None
    kinds: tuple[Kind, ...]


def judge(cells: pl.DataFrame, non_cells: pl.DataFrame) -> OodCheck | None:
    """Judge the flag of one model.

    Args:
        cells: ``subject, label, ood_score`` of the unchanged cells.
        non_cells: ``cell`` (the kind), ``ood_score``.

    Returns:
        None if the OOD scores are not known.
    """
    from sklearn.metrics import roc_auc_score

    if cells["ood_score"].null_count() or non_cells["ood_score"].null_count():
        return None
    known = cells["ood_score"].to_numpy()
    kinds = []
    for (kind,), rows in non_cells.group_by("cell", maintain_order=True):
        far = rows["ood_score"].to_numpy()
        truth = np.repeat([0, 1], [len(known), len(far)])
        auroc = float(roc_auc_score(truth, np.concatenate([known, far])))
        kinds.append(Kind(str(kind), len(far), auroc, float((far > 1).mean())))
    flag = pl.col("ood_score") > 1
    shares = dict(cells.group_by("label").agg(flag.mean()).iter_rows())
    by_subject = (
        cells.filter(pl.col("subject").is_not_null())
        .group_by("subject")
        .agg(flag.mean().alias("share"), pl.len())
        .sort("share", "subject", descending=[True, False])
    )
    worst = by_subject.row(0) if by_subject.height else None
    by_class = {label: float(shares[label]) for label in (ALL, HEM) if label in shares}
    return OodCheck(float((known > 1).mean()), by_class, worst, tuple(kinds))
