"""The prediction table: one row per cell and model, with the probability of ALL."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.errors import BlastscopeError, listing
from blastscope.io.cell_names import unique_names
from blastscope.io.files import read_json
from blastscope.io.subject_names import look_alikes, respelled, with_subject_names
from blastscope.io.tables import (
    LINE,
    TableFormat,
    check_columns,
    read_table,
    write_csv,
    write_table,
)

PARTS = ("train", "validation", "test")
"""The parts of a split."""
PREDICTIONS = TableFormat(
    "prediction",
    2,
    {
        "cell": pl.String(),
        "subject": pl.String(),
        "label": pl.String(),
        "part": pl.String(),
        "model": pl.String(),
        "p_all": pl.Float64(),
    },
)

PROBLEM = "problem"
"""A further column: why an image could not be used, so that its row has no probability."""

INDUCTIVE = "p_inductive"
"""A further column: the model's own ``p_all`` if that was corrected by neighbours; or, if it was
trained with pseudo-labels of these cells, what the models said that gave them."""

PSEUDO_LABELS = "pseudo_labels"
"""A key of a table's metadata: the model was trained with pseudo-labels of its test cells."""

SHARDS = "predictions.json"
"""What marks a folder of shards, each a prediction table, as `predict --shard-cells` writes it."""

OF_SHARD = ("counts", "images", "renamed")
"""Keys of a shard's metadata that are of that shard alone. ``renamed`` has, of cells that share
their name with another cell of the shard, the name in their input by the one in the shard."""

SYNTHETIC_MARK = " (synthetic)"
"""How the name of a model ends that was trained on synthetic cells."""


def refuse_pseudo_labels(metadata: Mapping[str, Any], where: object) -> None:
    """Refuse a table whose model was trained with pseudo-labels of its test cells.

    Raises:
        BlastscopeError: if it was: only ``evaluate`` reports it as what it is.
    """
    if PSEUDO_LABELS in metadata:
        raise BlastscopeError(
            f"{where} was trained with pseudo-labels of its test cells, which only `evaluate` "
            "reports as such: leave it out."
        )


def refuse_corrected(frame: pl.DataFrame, where: object) -> None:
    """Refuse a table whose probabilities were corrected by neighbours.

    Raises:
        BlastscopeError: if they were: each depends on which cells were predicted together.
    """
    if INDUCTIVE in frame.columns and frame[INDUCTIVE].is_not_null().any():
        raise BlastscopeError(
            f"{where} was corrected by neighbours (column {INDUCTIVE}), which only `evaluate` "
            "reports as such: predict again without --transductive, and give that table."
        )


def marked(name: str, synthetic: bool) -> str:
    """Return a model's name, which ends with ``SYNTHETIC_MARK`` if ``synthetic``."""
    return name + SYNTHETIC_MARK if synthetic and not name.endswith(SYNTHETIC_MARK) else name


# A column of whole numbers with gaps reaches us as 1.0 and 0.0 from pandas.
_LABELS = {"all": "all", "1": "all", "1.0": "all", "hem": "hem", "0": "hem", "0.0": "hem"}


def write_predictions(
    frame: pl.DataFrame, path: Path, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a prediction table as Parquet or CSV, after the checks that reading makes.

    Args:
        frame: the rows; columns beyond the contract are kept.
        path: where to; an older table there is replaced. A CSV has no place for metadata.
        metadata: what made the table (``checkpoint``, ``recipe``, ``protocol``, ``synthetic``...).

    Raises:
        BlastscopeError: if a value breaks the contract or the folder cannot be written.
    """
    columns = {name: kind for name, kind in PREDICTIONS.columns.items() if name in frame.columns}
    checked = _checked(frame.cast(columns), path)  # type: ignore[arg-type]
    if path.suffix.lower() == ".csv":
        write_csv(checked, path)
    else:
        write_table(checked, path, PREDICTIONS, metadata)


def predictions_digest(frame: pl.DataFrame) -> str:
    """Return ``sha256:<hex digest>`` of a prediction table's rows, in whatever order and file."""
    known = [name for name in ("model", "cell", "part", "label", "p_all") if name in frame.columns]
    rows = frame.select(known).sort("model", "cell").iter_rows()
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return f"sha256:{digest.hexdigest()}"


def shard_name(number: int) -> str:
    """Return the name of a shard in a folder of shards, counted from 0."""
    return f"shard-{number:06}.parquet"


def is_shards(path: Path) -> bool:
    """Whether a path is a folder of shards."""
    return (path / SHARDS).is_file()


def _read_shards(folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Read a folder of shards as one table, with the metadata of the first."""
    if read_json(folder / SHARDS).get("finished") is not True:
        raise BlastscopeError(f"{folder} is not finished: give its predict command again.")
    shards = [_read_shard(path) for path in sorted(folder.glob("shard-*.parquet"))]
    if not shards:
        raise BlastscopeError(f"{folder} has no shards: predict again, into a new folder.")
    told = {**shards[0][1], "synthetic": any(about.get("synthetic") for _, about in shards)}
    metadata = {key: value for key, value in told.items() if key not in OF_SHARD}
    frame = _named_apart(pl.concat([frame for frame, _ in shards], how="vertical"), folder)
    return frame.with_row_index(LINE, offset=1), metadata


def _read_shard(path: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Read a shard, whose cells get the names that they have in their inputs."""
    frame, about = read_table(path, PREDICTIONS)
    renamed = about.get("renamed") or {}
    return frame.with_columns(pl.col("cell").replace(renamed)), about


def _named_apart(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Call cells of several inputs by their files too, if they have one name.

    Each input of a folder of shards names its cells anew, as tars do whose cells are counted.
    """
    if "file" not in frame.columns or not frame["cell"].is_duplicated().any():
        return frame
    twice = frame.filter(pl.struct("cell", "file").is_duplicated())
    if not twice.is_empty():
        raise BlastscopeError(
            f"{folder} has the image {twice['file'][0]} more than once: predict again, into a new "
            "folder, and give each image once."
        )
    names = unique_names(frame["cell"].to_list(), frame["file"].fill_null("").to_list())
    return frame.with_columns(cell=pl.Series(names))


def read_predictions(path: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Read a prediction table from Parquet or CSV, or from a folder of shards.

    Labels ALL/HEM/1/0 in any case become ``all`` and ``hem``; subjects get their one spelling
    (:mod:`blastscope.io.subject_names`). Rows without a probability that say why in
    a column ``problem``, as ``predict`` writes them for images it could not use, are left out.

    Returns:
        The rows, and the metadata written with them. ``assumed`` says what was assumed of a
        CSV's text, ``joined`` which spellings were taken for one subject, ``unusable`` how many
        cells were left out, by model, part and label.

    Raises:
        BlastscopeError: if the table is empty, lacks a column, or a value breaks the contract.
    """
    if is_shards(path):
        frame, metadata = _read_shards(path)
    else:
        frame, metadata = read_table(path, PREDICTIONS, with_lines=True)
    usable, told = _usable(frame, path)
    return usable, {**metadata, **told}


def check_predictions(frame: pl.DataFrame, where: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Check a prediction table that is in memory as :func:`read_predictions` checks a file.

    ``model``, ``part`` and ``subject`` may be missing: all cells are then of one model, of the test
    part, and of unknown subjects. Messages call the table ``where``.
    """
    default = {"model": "model", "part": "test", "subject": None}
    added = [
        pl.lit(value, dtype=pl.String).alias(name)
        for name, value in default.items()
        if name not in frame.columns
    ]
    frame = check_columns(frame.with_columns(added), PREDICTIONS, where)
    return _usable(frame, where)


def _usable(frame: pl.DataFrame, where: Path | str) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the checked rows that have a probability; say what was joined and left out."""
    _refuse_empty(frame.filter(~_unusable(frame)), where)
    joined = respelled(frame["subject"])
    frame = _checked(frame, where)
    by = ("model", "part", "label")
    left_out = frame.filter(_unusable(frame)).group_by(by).agg(cells=pl.len()).sort(by)
    alike = look_alikes(frame["subject"].unique())
    found = {"joined": joined, "alike": alike, "unusable": left_out.to_dicts()}
    told = {name: value for name, value in found.items() if value}
    return frame.filter(~_unusable(frame)), told


def _unusable(frame: pl.DataFrame) -> pl.Expr:
    """Rows of images that could not be used."""
    if PROBLEM not in frame.columns:
        return pl.lit(False)
    return pl.col("p_all").is_null() & pl.col(PROBLEM).is_not_null()


def _refuse_empty(frame: pl.DataFrame, path: Path | str) -> pl.DataFrame:
    """Refuse a table to read that is empty; of fields without white cells one is written."""
    if frame.is_empty():
        raise BlastscopeError(f"{path} holds no predictions: give a table with at least one row.")
    return frame


def _checked(frame: pl.DataFrame, path: Path | str) -> pl.DataFrame:
    frame = frame.with_columns(
        _stripped("cell"),
        _stripped("model"),
        _stripped("subject"),
        _stripped("label").str.to_lowercase(),
        _stripped("part").str.to_lowercase(),
    )
    frame = with_subject_names(frame)
    p_all, label = pl.col("p_all"), pl.col("label")
    no_probability = (p_all.is_null() & ~_unusable(frame)) | p_all.is_nan()
    for bad, what, remedy in (
        *((pl.col(name).is_null(), f"has no {name}", f"fill the {name} column")
          for name in ("cell", "part", "model")),
        (no_probability | ~p_all.is_between(0, 1),
         "has a p_all that is not a probability ({p_all})", "p_all must lie between 0 and 1"),
        (label.is_not_null() & ~label.is_in(list(_LABELS)),
         "has the label '{label}'", "labels are all (or 1), hem (or 0), or empty"),
        (~pl.col("part").is_in(PARTS),
         "is of the part '{part}'", f"parts are {', '.join(PARTS)}"),
        (pl.struct("cell", "model").is_duplicated(),
         "is there more than once", "keep one row per cell and model"),
    ):  # fmt: skip
        _refuse(frame, path, bad, what, remedy)
    labels = label.replace_strict(_LABELS, return_dtype=pl.String)
    return frame.with_columns(labels).drop(LINE, strict=False)


def _stripped(name: str) -> pl.Expr:
    text = pl.col(name).str.strip_chars()
    return pl.when(text != "").then(text).alias(name)


def _refuse(frame: pl.DataFrame, path: Path | str, bad: pl.Expr, what: str, remedy: str) -> None:
    """Raise one sentence that names the first row for which ``bad`` holds and counts the rest."""
    counted = frame if LINE in frame.columns else frame.with_row_index(LINE, offset=1)
    rows = counted.filter(bad)
    if rows.is_empty():
        return
    first = rows.row(0, named=True)
    others = f" (and {rows.height - 1} more)" if rows.height > 1 else ""
    raise BlastscopeError(
        f"{path}, line {first[LINE]}: the cell '{first['cell']}' of the model '{first['model']}' "
        f"{what.format_map(first)}{others}; {remedy}."
    )


def has_folds(cells: pl.DataFrame, metadata: Mapping[str, Any]) -> bool:
    """Whether cells are of a cross-validation, by their table's ``metadata``, with known folds."""
    in_folds = metadata.get("out_of_fold") is not None and "fold" in cells.columns
    return in_folds and cells["fold"].null_count() == 0


def select_model(
    frame: pl.DataFrame, where: Path | str, model: str | None
) -> tuple[pl.DataFrame, str]:
    """Keep the rows of one model; return its name as well.

    Args:
        model: whose rows; None if the table has one model only.

    Raises:
        BlastscopeError: if the model is not in the table, or none is named and it has several.
    """
    names = sorted(frame["model"].unique())
    if model is None and len(names) > 1:
        raise BlastscopeError(
            f"{where} holds {len(names)} models ({listing(names)}): choose one (`model`)."
        )
    chosen = names[0] if model is None else model.strip()
    if chosen not in names:
        raise BlastscopeError(
            f"{where} holds no predictions of the model '{chosen}': it has {listing(names)}."
        )
    return frame.filter(pl.col("model") == chosen), chosen
