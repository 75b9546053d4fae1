"""Predict images of new cells: load a model, give it images, get a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope.api.prediction_result import PAGES, PredictionResult
from blastscope.api.result import AnyPath, Progress, as_inputs, as_path, as_paths, showing
from blastscope.box import in_the_box
from blastscope.cluster import RAY, check_engine, refuse_urls
from blastscope.errors import BlastscopeError, require_training
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.io.remote import refuse_url, uploaded, url_of
from blastscope.prediction.inputs import as_inputs as images_in_memory
from blastscope.prediction.models import PredictionModel, open_model
from blastscope.prediction.predict import Predicted, refuse_taken, stream
from blastscope.prediction.predict import predict as predict_images
from blastscope.prediction.table import SUFFIXES, names_beside

if TYPE_CHECKING:
    from blastscope.api.explain import ExplanationResult

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
        found = images_in_memory(images)
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
    fields: bool = False,
    um_per_pixel: float | None = None,
    masks: AnyPath | None = None,
    force: bool = False,
    progress: Progress = False,
) -> PredictionResult:
    """Predict for each cell the probability that it is a lymphoblast.

    Every network sees the cells prepared as its own training cells were. An image that cannot be
    used is a row without a probability whose ``problem`` says why. If a prediction that writes a
    table is killed, the same call goes on where it stopped.

    Args:
        images: files, folders, zips, globs; Pillow images; or NumPy arrays, uint8, RGB (H, W, 3),
            grey (H, W) or RGBA (H, W, 4); one or several.
        model: a bundle, runs, an ensemble; without it the model that comes with blastscope.
        out: the table to write, .parquet, .csv or .json; nothing is written without it.
        decision: a ``decision.json``, or a folder with one, to calibrate, call and refer by;
            without it the model's own.
        engine, device, spread: as :func:`load` takes them; ``engine="ray"`` predicts shards of the
            images as tasks of a Ray cluster, each computed as by ``auto`` (docs/scale.md).
        subject_from: a regular expression that finds the subject in a file's path.
        transductive: correct each probability by the cell's nearest neighbours among the images, 50
            or more. It profits from subjects of one class and depends on which cells are given;
            ``p_inductive`` keeps the model's own.
        report: a page to write, .html: what the model is worth, subjects, and pictures of cells.
        explain: a folder for a page with heatmaps for each cell.
        fields: the images are whole fields of a smear: their white cells are found, cut out and
            predicted, and the table has the position of each. With ``out``, cells, masks and
            overlays are written into the folder ``OUT-fields`` beside it.
        um_per_pixel, masks: of fields, as :func:`segment` takes them.
        force: replace a file that is there.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The table, and what was decided of all cells together.

    Raises:
        BlastscopeError: if the model or the images cannot be opened, not one image can be used,
            there are too few to correct, or ``out`` or ``report`` is there already or cannot be
            written.
    """
    _refuse_pages(report, explain, force)
    page = as_path(report)
    url = url_of(out)
    if url is not None:
        beside = names_beside(PurePosixPath(url).name, fields=fields)
        with uploaded(url, force=force, beside=beside) as place:
            made = predict(
                images, model, out=place, decision=decision, engine=engine, device=device,
                spread=spread, subject_from=subject_from, transductive=transductive, report=report,
                explain=explain, fields=fields, um_per_pixel=um_per_pixel, masks=masks, force=True,
                progress=progress,
            )  # fmt: skip
        return replace(made, path=None, url=url)
    if engine == RAY:
        check_engine(RAY)
        refuse_urls(RAY, [] if _in_memory(images) else as_inputs(images))
    models = model_paths(model)
    if not fields and (um_per_pixel is not None or masks is not None):
        raise BlastscopeError("--um-per-pixel and --masks are for whole fields: give --fields.")
    if fields:
        return _predict_fields(
            images,
            models,
            page,
            explain,
            out=as_path(out),
            um_per_pixel=um_per_pixel,
            masks=as_path(masks),
            subject_from=subject_from,
            force=force,
            progress=progress,
            decision=as_path(decision),
            engine=engine,
            device=device,
            spread=spread,
            transductive=transductive,
        )
    with showing("Predicting", progress) as advance:
        found = predict_images(
            images_in_memory(images, subject_from) if _in_memory(images) else as_inputs(images),
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
    return _with_pages(found, models, page, as_path(explain), device, progress)


def _refuse_pages(report: AnyPath | None, explain: AnyPath | None, force: bool) -> None:
    """Refuse places for pages that are taken or not local, before anything is predicted."""
    if report is not None:
        refuse_taken(Path(report), PAGES, force)
    if explain is not None:
        require_training("`explain`")
        from blastscope.io.workfolder import refuse_foreign

        refuse_foreign(Path(explain), "explanation.json", ["report.html", "cells.csv"])
    for local_only in (report, explain):
        refuse_url(local_only, "cannot be written as a page: give a local path.")


def _with_pages(
    found: Predicted,
    models: Sequence[Path],
    page: Path | None,
    explain: Path | None,
    device: str,
    progress: Progress,
) -> PredictionResult:
    """Write the page of the predictions and those with heatmaps, if they were asked for."""
    result = PredictionResult(found, path=found.path, page=page)
    if page is not None:
        result.save(page)
    if explain is None:
        return result
    cells = len(found.frame) - len(found.problems) - (found.tally.out_of_distribution or 0)
    pages = _explain(found, models, explain, device, progress) if found.files else None
    return replace(result, explanation=pages, unexplained=cells - len(found.files))


def _predict_fields(
    images: Any, models: Sequence[Path], page: Path | None, explain: AnyPath | None, **how: Any
) -> PredictionResult:
    """Predict the cells of fields, and write their page."""
    from blastscope.api.predict_fields import predict_fields

    if explain is not None:
        raise BlastscopeError(
            "--explain and --fields do not go together: explain OUT-fields/cells instead."
        )
    if _in_memory(images):
        raise BlastscopeError("Fields are files: give their paths.")
    if how["out"] is not None:
        refuse_taken(how["out"], SUFFIXES, how["force"])
    result = predict_fields(as_inputs(images), models, **how)
    if page is None:
        return result
    result = replace(result, page=page)
    result.save(page)
    return result


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
