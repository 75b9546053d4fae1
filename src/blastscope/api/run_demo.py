"""The main job from end to end, small enough for a laptop: what ``make demo`` runs.

Cells are drawn (or given), checked, prepared and split both by image and by subject; two small
recipes are trained under each; one page shows the metrics side by side, and their gap. One of the
models is made ready to travel, and the model in the box looks at some of the cells, and at those
that are found in a few whole fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.bundle import make_bundle
from blastscope.api.evaluate import evaluate
from blastscope.api.predict import predict as predict_cells
from blastscope.api.result import AnyPath, FolderResult, as_path
from blastscope.box import in_the_box
from blastscope.data.check import CheckReport, check
from blastscope.data.crop import Pixels
from blastscope.data.names import ALL, HEM
from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import Store, StoreSettings, open_store
from blastscope.data.synthetic import MARKER, write_synthetic
from blastscope.data.synthetic_field_drawing import UM_PER_PIXEL
from blastscope.data.synthetic_fields import write_synthetic_fields
from blastscope.errors import BlastscopeError, listing
from blastscope.evaluation.result import read_metrics
from blastscope.prediction.predict import predict
from blastscope.recipes.library import load_recipe
from blastscope.recipes.schema import Recipe
from blastscope.report.demo_page import Entry, write_demo
from blastscope.report.evaluation_text import headline
from blastscope.report.text import megabytes, number
from blastscope.training.display import TrainingDisplay
from blastscope.training.train import train

RECIPES = ("demo/cnn-small", "demo/cnn-small-dihedral")
PROTOCOLS = ("image", "subject")
CELLS, SUBJECTS, SEED = 1500, 24, 24
EXAMPLES = 8
BOXED = 48
FIELDS = 3
CHANCE = 0.5
"""The AUC of a model that tells nothing."""


@dataclass(frozen=True, eq=False, repr=False)
class DemoResult(FolderResult):
    """What the demo made: its report shows the trained recipes side by side.

    Attributes:
        entries: the runs, a recipe and a protocol each.
    """

    entries: tuple[Entry, ...]

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each run."""
        return pl.DataFrame(self.as_json()["runs"])

    def as_json(self) -> dict[str, Any]:
        """Return the runs."""
        runs = [
            {"recipe": one.recipe, "protocol": one.protocol, "run": str(one.run)}
            for one in self.entries
        ]
        return {"path": self.written_to, "runs": runs}


def run_demo(
    out: AnyPath, data: AnyPath | None = None, *, say: Callable[[str], None] = lambda line: None
) -> DemoResult:
    """Run the main job from end to end on a few cells; what an earlier run made is used again.

    Args:
        out: the folder to write to.
        data: a folder of labelled cells; synthetic ones are drawn without it.
        say: called with a line for each stage.

    Returns:
        The runs and the report.

    Raises:
        BlastscopeError: if the data cannot be used, or ``out`` holds the demo of other data.
    """
    out = Path(out)
    cells = as_path(data) or _draw(out / "cells", say)
    found = check([cells])
    if not found.usable:
        raise BlastscopeError(f"{cells} cannot be used: {' '.join(found.reasons)}")
    say(f"check: {found.cells:,} cells of {found.subjects} subjects, {listing(_suspicious(found))}")
    recipes = [load_recipe(name) for name in RECIPES]
    size = recipes[0].input.size
    made = prepare([cells], out / "store", StoreSettings(size=size))
    say(f"prepare: {made.cells:,} cells at {size} × {size} pixels in {made.path}")
    store = open_store(made.path)
    entries = []
    splits = {protocol: make_split(made.path, protocol, SEED) for protocol in PROTOCOLS}
    for protocol, (split, report) in splits.items():
        shared = len(report.shared_subjects["train/test"])
        say(f"split by {protocol}: {shared} subjects in both train and test")
        entries += [_train(recipe, protocol, out, split, say) for recipe in recipes]
    files = _ship(out, entries, store, say)
    if store.synthetic:
        files += _from_fields(out, say)
    page = write_demo(
        entries,
        out / "report.html",
        heading="The same recipes on known and on unseen subjects",
        synthetic=store.synthetic,
        facts=_facts(found, store),
        files=files,
        pictures=_examples(store),
    )
    return DemoResult(tuple(entries), path=page.parent)


def _ship(
    out: Path, entries: Sequence[Entry], store: Store, say: Callable[[str], None]
) -> list[tuple[str, str]]:
    """Bundle a run by subject, and predict some cells with the model in the box.

    Returns:
        The names of the files and what they are, for the page.
    """
    run = _best(entries)
    made = make_bundle(run, out / "model.zip", force=True)
    taught = ", of synthetic cells" if made.synthetic else ""
    worth = how_good(read_metrics(run / "metrics.json"))
    say(f"bundle: {made.name}{taught}, in {made.path}, {megabytes(made.bytes)}; {worth}")
    some = store.cells.sample(min(BOXED, len(store)), seed=SEED).sort("cell")
    files = [Path(store.sources[0]) / file for file in some["file"]]
    found = predict(files, [in_the_box()], out / "in-the-box.csv", force=True)
    counts = found.tally
    drawn = ": it has never seen a drawn cell, so that says nothing" if store.synthetic else ""
    say(
        f"predict: the model in the box calls {counts.called_all} of {len(found.frame)} cells ALL "
        f"and finds {counts.out_of_distribution or 0} unlike any cell that it knows{drawn}"
    )
    return [
        ("model.zip", f"A bundle of {made.name}, subject-disjoint split: {worth}."),
        ("in-the-box.csv", f"What the model in the box makes of {len(found.frame)} cells{drawn}."),
    ]


def _from_fields(out: Path, say: Callable[[str], None]) -> list[tuple[str, str]]:
    """Draw whole fields, find their cells and predict them: from a smear to a page.

    Returns:
        The names of the files and what they are, for the page.
    """
    folder = out / "fields"
    if not folder.is_dir():
        write_synthetic_fields(folder, FIELDS, 1, SEED)
    found = predict_cells(
        folder / "fields",
        out=out / "fields.csv",
        report=out / "fields.html",
        fields=True,
        um_per_pixel=UM_PER_PIXEL,
        force=True,
    )
    table = found.to_frame()
    refused = table["problem"].is_not_null().sum()
    say(
        f"predict --fields: {len(table) - refused} white cells cut out of {FIELDS} synthetic fields"
        f", {refused} more refused, with the reason; page: {out / 'fields.html'}"
    )
    return [("fields.html", f"From {FIELDS} whole fields, which are synthetic, to their cells.")]


def _best(entries: Sequence[Entry]) -> Path:
    """Return the run by subject with the highest AUC of its validation cells."""

    def of_validation(entry: Entry) -> float:
        parts = read_metrics(entry.run / "metrics.json")["parts"]
        return parts.get("validation", {}).get("auc") or 0.0

    return max((one for one in entries if one.protocol == "subject"), key=of_validation).run


def how_good(metrics: Mapping[str, Any]) -> str:
    """Write a run's AUC on unseen subjects, and whether that differs from chance."""
    auc = metrics["parts"]["test"]["auc"]
    if auc is None:
        return "AUC undefined, because the test cells are of one class: do not use it"
    low, high = metrics["intervals"].get("auc") or (None, None)
    text = f"AUC {number(auc, 3)} on test cells of unseen subjects"
    if low is not None and high is not None:
        text += f" ({number(low, 3)} to {number(high, 3)})"
    if low is None or low <= CHANCE:
        text += ", not shown to be better than chance: it shows the file format, do not use it"
    return text


def _draw(folder: Path, say: Callable[[str], None]) -> Path:
    if not (folder / MARKER).is_file():
        write_synthetic(folder, CELLS, SUBJECTS, SEED)
    say(f"synth: {CELLS:,} synthetic cells of {SUBJECTS} synthetic subjects in {folder}")
    return folder


def _train(
    recipe: Recipe, protocol: str, out: Path, split: Path, say: Callable[[str], None]
) -> Entry:
    run = out / "runs" / f"{recipe.name.rpartition('/')[2]}-{protocol}"
    with TrainingDisplay(f"{recipe.name}, {protocol}") as display:
        train(recipe, out / "store", split, run, watch=display.watch())
    result = evaluate(run, out=run, store=out / "store")
    say(f"train {recipe.name} by {protocol}: {headline(result.part, result.metrics)}")
    return Entry(recipe.name, protocol, run)


def _suspicious(found: CheckReport) -> list[str]:
    counted = [f"{len(files)} flagged {flag}" for flag, files in sorted(found.suspicious.items())]
    return counted or ["nothing suspicious"]


def _facts(found: CheckReport, store: Store) -> list[tuple[str, str]]:
    side = store.cells.select("label", side=pl.max_horizontal("box_w", "box_h"))
    median = dict(side.group_by("label").median().iter_rows())
    size = store.settings.size
    kind = "synthetic, drawn by blastscope synth" if found.synthetic else ", ".join(found.folders)
    return [
        ("Cells", kind),
        *(
            (name, f"{found.per_class[c]:,} cells, {found.subjects_per_class.get(c, 0)} subjects")
            for c, name in ((ALL, "ALL"), (HEM, "Normal"))
        ),
        ("Median side of a cell's box", f"ALL {median[ALL]:.0f} px, normal {median[HEM]:.0f} px"),
        ("Looked suspicious", listing(_suspicious(found))),
        ("Prepared", f"{size} × {size} pixels, {store.settings.scale}"),
    ]


def _examples(store: Store) -> list[tuple[str, Pixels]]:
    """Choose some cells of each class, each of another subject if there are enough."""
    pictures = []
    for label, name in ((ALL, "ALL"), (HEM, "Normal")):
        rows = store.cells.with_row_index("row").filter(pl.col("label") == label)
        rows = rows.sample(rows.height, shuffle=True, seed=SEED)
        first = rows.unique("subject", keep="first", maintain_order=True)
        chosen = pl.concat([first, rows]).unique("row", keep="first", maintain_order=True)
        for row, subject in chosen.select("row", "subject").head(EXAMPLES).iter_rows():
            pictures.append((f"{name}, {subject}", store.pixels[row]))
    return pictures
