"""The term of size of a recipe, from a table of boxes, and its AUC.

The table is CSV with the columns ``file``, ``width`` and ``height`` (pixels of the original image);
class and subject come from the file's name, as C-NMC writes it. Those that C. Marzahl published
(github ChristianMarzahl/ISBI2019_WhiteBloodCancer) are of all 10,661 training cells.

    python benchmarks/fit_size.py BOXES.csv [--without H10 H14]
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import polars as pl
from sklearn.metrics import roc_auc_score

from blastscope.data.crop import FIELD
from blastscope.data.names import ALL, parse_name
from blastscope.evaluation.size_fit import fit_size


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("boxes", type=Path)
    parser.add_argument("--without", nargs="*", default=[], metavar="SUBJECT")
    asked = parser.parse_args()
    read = pl.read_csv(asked.boxes)
    names = [parse_name(Path(file).stem) for file in read["file"]]
    cells = pl.DataFrame(
        {
            "subject": [name.subject for name in names],
            "label": [name.label for name in names],
            "box_w": read["width"],
            "box_h": read["height"],
        }
    )
    if cells.null_count().sum_horizontal().item():
        raise SystemExit(f"{asked.boxes}: a name says neither its subject nor its class.")
    fitted = fit_size(cells.filter(~pl.col("subject").is_in(asked.without)), FIELD)
    for key, value in asdict(fitted).items():
        print(f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}")
    size = cells.select(pl.max_horizontal("box_w", "box_h")).to_series()
    print(f"AUC of size on all: {roc_auc_score(cells['label'] == ALL, size):.3f}")


if __name__ == "__main__":
    main()
