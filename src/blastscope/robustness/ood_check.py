"""Whether a model knows what is no cell: the flag on cells, and on pictures that are none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from blastscope.data.names import ALL, HEM


@dataclass(frozen=True)
class Kind:
    """One kind of pictures that are no cells.

    Attributes:
        kind: what they are.
        pictures: how many, over all the model's networks.
        auroc: how well ood tells them from the part's cells: 1 perfectly, .5 not at all.
        flagged: share of them that is flagged.
    """

    kind: str
    pictures: int
    auroc: float
    flagged: float


@dataclass(frozen=True)
class OodCheck:
    """What the flag does.

    Attributes:
        flagged: share of the part's cells that are flagged, though they are cells.
        by_class: the same for each class that is there.
        worst: the subject with the highest share, its share and its number of cells; None where
            no cell names its subject.
        kinds: pictures that are no cells.
    """

    flagged: float
    by_class: dict[str, float]
    worst: tuple[str, float, int] | None
    kinds: tuple[Kind, ...]


def judge(cells: pl.DataFrame, strange: pl.DataFrame) -> OodCheck | None:
    """Judge the flag of one model.

    Args:
        cells: ``subject, label, ood`` of the unchanged cells.
        strange: ``cell`` (the kind), ``ood_score``.

    Returns:
        None where ood is not known.
    """
    from sklearn.metrics import roc_auc_score

    if cells["ood_score"].null_count() or strange["ood_score"].null_count():
        return None
    known = cells["ood_score"].to_numpy()
    kinds = []
    for (kind,), rows in strange.group_by("cell", maintain_order=True):
        far = rows["ood_score"].to_numpy()
        truth = np.repeat([0, 1], [len(known), len(far)])
        auroc = float(roc_auc_score(truth, np.concatenate([known, far])))
        kinds.append(Kind(str(kind), len(far), auroc, float((far > 1).mean())))
    flag = pl.col("ood_score") > 1
    shares = dict(cells.group_by("label").agg(flag.mean()).iter_rows())
    people = (
        cells.filter(pl.col("subject").is_not_null())
        .group_by("subject")
        .agg(flag.mean().alias("share"), pl.len())
        .sort("share", "subject", descending=[True, False])
    )
    worst = people.row(0) if people.height else None
    by_class = {label: float(shares[label]) for label in (ALL, HEM) if label in shares}
    return OodCheck(float((known > 1).mean()), by_class, worst, tuple(kinds))
