"""Predict images of new cells: load a model, give it images, get a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope import DISCLAIMER
from blastscope.api.result import AnyPath, Progress, Result, TextTable, as_path, as_paths, showing
from blastscope.box import in_the_box
from blastscope.decision.neighbourhood import STATEMENT
from blastscope.errors import BlastscopeError, require_training
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.io.files import write_text
from blastscope.prediction.inputs import as_inputs
from blastscope.prediction.models import PredictionModel, open_model
from blastscope.prediction.predict import Predicted, refuse_taken, stream
from blastscope.prediction.predict import predict as predict_images
from blastscope.prediction.table import SUFFIXES, write_table
from blastscope.report.decision_text import how_decided, intervals_held
from blastscope.report.predictions_text import (
    FEW_CELLS,
    LINE_TEXT,
    NOT_ESTIMABLE,
    TRANSDUCTIVE_SHARES,
)
from blastscope.report.worth_text import SYNTHETIC

if TYPE_CHECKING:
    from blastscope.api.explain import ExplanationResult

MOST_SUBJECTS = 20
MOST_CELLS = 40
"""Cells and subjects that a screen shows."""
MOST_PROBLEMS = 10
PAGES = (".html", ".htm")
"""The suffixes of a page."""

Models = AnyPath | Sequence[AnyPath] | None


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to predict; its networks are loaded with the first image."""

    _model: PredictionModel

    def __repr__(self) -> str:
        runs = len(self._model.predictor.members.runs)
        sizes = ", ".join(map(str, self.sizes))
        return f"<{self.name}: {runs} network{'s' * (runs > 1)}, cells of {sizes} pixels>"

    @property
    def name(self) -> str:
        """What tables call it; it ends in " (synthetic)" if synthetic cells have taught it."""
        return self._model.name

    @property
    def synthetic(self) -> bool:
        """Whether synthetic cells have taught it."""
        return self._model.synthetic

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides, in pixels, of the images that its networks see."""
        return tuple(way.size for way in self._model.predictor.settings)

    def predict(self, images: Any) -> pl.DataFrame:
        """Predict images of single cells.

        Each is prepared as the training cells were, so give whole images: one cell on black each,
        neither cropped nor scaled.

        Args:
            images: one or a sequence of NumPy arrays, uint8, (H, W, 3) RGB, (H, W, 4) RGBA or (H,
                W) grey; PIL images; or paths.

        Returns:
            A row an image, in their order, with the columns ``file`` (empty for what comes from
            memory), ``cell``, ``subject``, ``label``, ``part``, ``model``, ``p_all`` (the
            probability of ALL, calibrated if the model has a calibration), ``ood_score``,
            ``out_of_distribution``, with a decision ``p_raw``, ``called`` (``all``, ``hem``),
            ``confidence`` and ``refer``, with ``spread=True`` ``spread``, and ``problem``: why an
            image cannot be used, in which case there is no probability (docs/formats.md).

        Raises:
            BlastscopeError: if something is neither an array of these shapes, a PIL image nor a
                path, or nothing is given.
        """
        found = as_inputs(images)
        if not found.images:
            raise BlastscopeError("There is nothing to predict on: give at least one image.")
        return pl.concat(stream(found, self._model))

    def subjects(self, predictions: pl.DataFrame) -> pl.DataFrame:
        """Return the share of blasts of each subject, with its 95 % interval.

        Args:
            predictions: what ``predict`` returned; rows without a subject count for no subject.

        Returns:
            A row a subject (``decision.subject_shares.subject_shares``); no rows if the model does
            not decide.
        """
        from blastscope.prediction.decisions import tally

        found = tally(predictions, self._model.decision).subjects
        return pl.DataFrame() if found is None else found


def load(
    path: Models = None, *, engine: str = "auto", device: str = "auto", spread: bool = False
) -> LoadedModel:
    """Load a model: a bundle, a run, several runs (their mean), an ensemble.

    Args:
        path: a bundle's folder or zip, or folders; without it the model that comes with blastscope.
        engine: ``auto``, ``onnxruntime``, ``openvino`` or ``torch``. ``auto`` is PyTorch on a GPU
            and for what is not a bundle, else ONNX Runtime.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        spread: whether predictions say how far the eight views of a cell differ.

    Returns:
        The model, ready to predict.

    Raises:
        BlastscopeError: if it cannot be opened; nothing in it is run, whatever it is.
    """
    return LoadedModel(open_model(model_paths(path), engine=engine, device=device, spread=spread))


def model_paths(path: Models) -> list[Path]:
    """Return the paths of a model, or that of the model in the box."""
    return [in_the_box()] if path is None else as_paths(path)


@dataclass(frozen=True, eq=False, repr=False)
class PredictionResult(Result):
    """The predictions of a model for images.

    Attributes:
        found: the table, and what was decided.
        explanation: the pages with heatmaps, if they were asked for and there are some.
        unexplained: cells without a page because they lie in zips; None if no pages were asked for.
        page: the page of the predictions, if one was written.
    """

    found: Predicted
    explanation: ExplanationResult | None = None
    unexplained: int | None = None
    page: Path | None = None

    @property
    def report(self) -> Path | None:
        """The page to open, if one was written."""
        return self.page or super().report

    @property
    def model(self) -> str:
        """The name of what predicted."""
        return self.found.model

    @property
    def subjects(self) -> pl.DataFrame:
        """A row a subject: the share of blasts with its interval; empty if nothing decides."""
        found = self.found.tally.subjects
        return pl.DataFrame() if found is None else found

    def to_frame(self) -> pl.DataFrame:
        """Return a row an image, as ``LoadedModel.predict`` does."""
        return self.found.frame

    def as_json(self) -> dict[str, Any]:
        """Return counts, cells and subjects."""
        counts, by = self.found.tally, self.found.decision
        return {
            "model": self.model,
            "synthetic": self.found.synthetic_model or self.found.synthetic_cells,
            "used": self._used,
            "called_all": counts.called_all,
            "referred": counts.referred,
            "out_of_distribution": counts.out_of_distribution,
            "decision": None if by is None else str(by.path),
            "transductive": self.found.about.get("transductive"),
            "cells": self.found.frame.to_dicts(),
            "subjects": self.subjects.to_dicts(),
        }

    @property
    def failed(self) -> int:
        """How many images could not be used."""
        return len(self.found.problems)

    @property
    def _used(self) -> int:
        return len(self.found.frame) - self.failed

    def tables(self) -> list[TextTable]:
        """Return the first cells, if no table was written, and the shares of the subjects."""
        cells = [] if self.path is not None else [_cells_table(self.found.frame)]
        return [*cells, _shares_table(self.subjects)] if self._has_shares else cells

    def answers(self) -> list[str]:
        """Say how many cells are called ALL."""
        counts = self.found.tally
        experts = "" if counts.referred is None else f", {counts.referred:,} referred to an expert"
        return [f"{self.model}: {counts.called_all:,} of {self._used:,} cells called ALL{experts}"]

    def notes(self) -> list[str]:
        """Say what could not be used, how cells were called, and what that rests on."""
        found, problems = self.found, self.found.problems
        said = [f"{sentence}." for sentence in found.notes]
        if self.path is None and self._used > MOST_CELLS:
            more = self._used - MOST_CELLS
            said.append(f"And {more:,} more cells: give a file as `out` to write them all.")
        for file, problem in problems.select("file", "problem").head(MOST_PROBLEMS).iter_rows():
            said.append(f"not used: {file} {problem}")
        if len(problems) > MOST_PROBLEMS:
            said.append(f"And {len(problems) - MOST_PROBLEMS:,} more that cannot be used.")
        if found.transductive:
            said.append(STATEMENT)
        if found.synthetic_model:
            said.append(SYNTHETIC)
        if found.synthetic_cells:
            said.append("The cells are synthetic: these predictions mean nothing for real ones.")
        if found.decision is None:
            said.append("Cells are called ALL above one half: the model has no decision.json.")
        else:
            said.append(how_decided(found.decision, brief="bundle" in found.about))
        said += [*self._share_notes(), *self._unlike()]
        if self.unexplained:
            told = f"{self.unexplained:,} cells lie in zips and have no page"
            said.append(f"{told}: unpack the zips.")
        if self.explanation is not None:
            said.append(
                "The pages show the table's probabilities, calls and referrals. "
                "Out-of-distribution images have no page."
            )
        return said if self.path is not None else [*said, DISCLAIMER]

    @property
    def _has_shares(self) -> bool:
        subjects = self.subjects
        return not subjects.is_empty() and bool((subjects["cells"] >= FEW_CELLS).any())

    def _share_notes(self) -> list[str]:
        if self.found.transductive and self.found.decision is not None:
            return [TRANSDUCTIVE_SHARES]
        subjects, by = self.subjects, self.found.decision
        doubt = "" if by is None else intervals_held(by)
        if not self._has_shares:
            if subjects.is_empty() or self.path is None:
                return []
            return [f"No shares of blasts: no subject has {FEW_CELLS} cells (JSON has them all)."]
        more = subjects.height - MOST_SUBJECTS
        said = [f"And {more:,} more subjects."] if more > 0 else []
        if not doubt:  # the decisions were fitted on cells that name no subject
            return [*said, "No share of blasts: how well it fits known subjects is not known."]
        if (subjects["line"] == "not estimable").any():
            said.append(NOT_ESTIMABLE)
        return [
            *said,
            "blasts: the share called ALL, corrected for the errors of these calls on known "
            f"subjects, with its 95 % interval. {doubt} It means something only if the cells are "
            "all the nucleated cells of a field (docs/deciding.md).",
            LINE_TEXT,
        ]

    def _unlike(self) -> list[str]:
        count = self.found.tally.out_of_distribution
        if count is None:
            return ["Out-of-distribution images are not found: the runs measured no features."]
        if not count:
            return []
        return [
            f"Out of distribution: {count:,} of {self._used:,} images, unlike every cell that the "
            "model was trained on. Its predictions for them mean nothing. Give images of one cell "
            "each, cut out on black."
        ]

    def to_html(self) -> str:
        """Return one page for a reader: subjects, pictures of the cells by call, and limits.

        The images that it shows are read again, a few hundred at most.
        """
        from blastscope.report.predictions_page import predictions_page

        return predictions_page(self.found)

    def save(self, folder: AnyPath) -> Path:
        """Write the table (.parquet, .csv or .json), the page (.html), or a folder with both.

        Raises:
            BlastscopeError: if it cannot be written.
        """
        out = Path(folder)
        if out.suffix.lower() in PAGES:
            write_text(out, self.to_html())
            return out
        if out.suffix.lower() not in SUFFIXES:
            return super().save(out)
        write_table(self.found.frame, self.found.tally.subjects, out, self.found.about)
        return out


def predict(
    images: Any,
    model: Models = None,
    *,
    out: AnyPath | None = None,
    decision: AnyPath | None = None,
    engine: str = "auto",
    device: str = "auto",
    spread: bool = False,
    subject_from: str | None = None,
    transductive: bool = False,
    report: AnyPath | None = None,
    explain: AnyPath | None = None,
    force: bool = False,
    progress: Progress = False,
) -> PredictionResult:
    """Predict for each cell the probability that it is a lymphoblast.

    Every network sees the cells prepared as its own training cells were. An image that cannot be
    used is a row without a probability whose ``problem`` says why. If a prediction that writes a
    table is killed, the same call goes on where it stopped.

    Args:
        images: files, folders, zips, globs; NumPy arrays or PIL images; one or several.
        model: a bundle, runs, an ensemble; without it the model that comes with blastscope.
        out: the table to write, .parquet, .csv or .json; nothing is written without it.
        decision: a ``decision.json``, or a folder with one, to calibrate, call and refer by;
            without it the model's own.
        engine, device, spread: as :func:`load` takes them.
        subject_from: a regular expression that finds the subject in a file's path.
        transductive: correct each probability by the cell's nearest neighbours among the images, 50
            or more. It profits from subjects of one class and depends on which cells are given;
            ``p_inductive`` keeps the model's own.
        report: a page to write, .html: what the model is worth, subjects, and pictures of cells.
        explain: a folder for a page with heatmaps for each cell.
        force: replace a file that is there.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The table, and what was decided of all cells together.

    Raises:
        BlastscopeError: if the model or the images cannot be opened, not one image can be used,
            there are too few to correct, or ``out`` or ``report`` is there already or cannot be
            written.
    """
    page = as_path(report)
    if page is not None:
        refuse_taken(page, PAGES, force)
    if explain is not None:
        require_training("`explain`")
        from blastscope.io.workfolder import refuse_foreign

        refuse_foreign(Path(explain), "explanation.json", ["report.html", "cells.csv"])
    models = model_paths(model)
    with showing("Predicting", progress) as advance:
        found = predict_images(
            as_inputs(images, subject_from) if _in_memory(images) else as_paths(images),
            models,
            as_path(out),
            decision=as_path(decision),
            engine=engine,
            device=device,
            spread=spread,
            subject_from=subject_from,
            transductive=transductive,
            force=force,
            on_progress=advance,
        )
    result = PredictionResult(found, path=found.path, page=page)
    if page is not None:
        result.save(page)
    if explain is None:
        return result
    cells = len(found.frame) - len(found.problems) - (found.tally.out_of_distribution or 0)
    pages = _explain(found, models, Path(explain), device, progress) if found.files else None
    return replace(result, explanation=pages, unexplained=cells - len(found.files))


def _in_memory(images: Any) -> bool:
    """Say whether some of the images are arrays or PIL images rather than paths."""
    if isinstance(images, str | PathLike):
        return False
    return not all(isinstance(one, str | PathLike) for one in images)


def _explain(
    found: Predicted, models: Sequence[Path], out: Path, device: str, progress: Progress
) -> ExplanationResult:
    """Write a page a cell, with what the table says of it, for images that are files."""
    from blastscope.api.explain import ExplanationResult, write_explanation
    from blastscope.data.layouts import CellFile, Listing
    from blastscope.engines.torch_engine import choose_device
    from blastscope.explanation.models import open_models
    from blastscope.explanation.result import TableCall

    cells, table = [], {}
    for row, path in found.files.items():
        one = found.frame.row(row, named=True)
        called = one.get("called") or ("all" if one["p_all"] > THRESHOLD else "hem")
        table[path] = TableCall(one["p_all"], called, one.get("refer"))
        cells.append(CellFile(path, one["file"], one["cell"], one["label"], one["subject"], None))
    explained = open_models(models, choose_device(device), as_one=True)
    listed = Listing(cells, synthetic=found.synthetic_cells)
    with showing("Explaining", progress) as advance:
        made = write_explanation(
            explained, listed, out, ("grad-cam",), table=table, on_progress=advance
        )
    return ExplanationResult(made, path=out)


def _cells_table(frame: pl.DataFrame) -> TextTable:
    """Show the first cells."""
    names = {"p_all": "p(ALL)", "p_inductive": "inductive", "out_of_distribution": "OOD"}
    order = (
        "cell",
        "subject",
        "p_all",
        "p_inductive",
        "called",
        "refer",
        "out_of_distribution",
        "spread",
    )
    shown = [name for name in order if name in frame.columns]
    if frame["subject"].null_count() == len(frame):
        shown.remove("subject")
    called = {"all": "ALL", "hem": "normal", True: "yes", False: "", None: None}
    usable = frame.filter(frame["p_all"].is_not_null())
    if "out_of_distribution" in shown:  # a probability of such an image means nothing
        inside = ~pl.col("out_of_distribution").fill_null(False)
        hidden = [name for name in ("p_all", "called", "spread") if name in shown]
        usable = usable.with_columns(pl.when(inside).then(name).alias(name) for name in hidden)
    return TextTable.of(
        [names.get(name, name) for name in shown],
        [
            [called.get(value, value) if type(value) is not float else value for value in row]
            for row in usable.select(shown).head(MOST_CELLS).iter_rows()
        ],
    )


def _shares_table(subjects: pl.DataFrame) -> TextTable:
    """Show the share of blasts of each subject, the largest first."""
    shown = subjects.sort("share", "subject", descending=[True, False], nulls_last=True)
    columns = {
        "subject": "subject",
        "label": "label",
        "cells": "cells",
        "called": "called ALL",
        "referred": "referred",
        "share": "blasts",
        "low": "from",
        "high": "to",
        "line": "20-25 % line",
    }
    if shown["label"].null_count() == len(shown):
        del columns["label"]
    labels = {"all": "ALL", "hem": "normal"}
    shown = shown.with_columns(pl.col("label").replace(labels))
    return TextTable.of(
        columns.values(), shown.select(list(columns)).head(MOST_SUBJECTS).iter_rows()
    )
