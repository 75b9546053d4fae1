"""Fit an ensemble: weights, predictions, rivals, plots and a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.api.compare import paper_style
from blastscope.api.result import PAGE, AnyPath, Result, TextTable, synthetic_of
from blastscope.api.tables import Models, as_measured_cells, as_models
from blastscope.data.store import Store
from blastscope.ensemble.build import Built, EnsembleSettings, build, out_of_fold
from blastscope.ensemble.ensemble_folder import (
    EnsembleFolder,
    ensemble_members,
    read_ensemble,
    write_ensemble,
)
from blastscope.ensemble.genetic import GeneticSettings
from blastscope.ensemble.methods import UNFITTED
from blastscope.error_analysis.analysis import ErrorAnalysis, analyse
from blastscope.errors import BlastscopeError, writing
from blastscope.evaluation.aligned_predictions import AlignedPredictions, align_predictions
from blastscope.evaluation.comparison import Comparison
from blastscope.evaluation.comparison import compare as compare_aligned
from blastscope.evaluation.sources import ENSEMBLE
from blastscope.io.files import only_one, remove_folder, sha256_of, write_json, write_text
from blastscope.io.predictions import predictions_digest, read_predictions, write_predictions
from blastscope.report.comparison_page import pooled_text
from blastscope.report.comparison_with_size import size_columns, size_rows, size_sentences
from blastscope.report.ensemble_page import cautions, ensemble_page, shown_models, verdicts
from blastscope.report.evaluation_text import overlap_text, sampling_text
from blastscope.report.text import readings_text

WRITTEN = (
    "predictions.parquet",
    "rivals.parquet",
    "rivals.json",
    "comparison.json",
    "errors.json",
    "report.html",
)
"""The files of an ensemble's folder beside ``ensemble.json``."""


@dataclass(frozen=True, eq=False, repr=False)
class EnsembleResult(Result):
    """An ensemble beside its members and the other methods.

    Attributes:
        built: every method's weights, and the probabilities.
        scores: the members' predictions.
        comparison: of the ensemble, its members and the other methods; None without labels.
        errors: of the members; None without labels.
        store: of the cells, to show them; None without.
        force: replace another ensemble that is in the folder.
    """

    built: Built
    scores: AlignedPredictions
    comparison: Comparison | None
    errors: ErrorAnalysis | None
    store: Store | None = None
    force: bool = False
    synthetic = synthetic_of("scores")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each member."""
        return dict(zip(self.built.members, self.built.chosen.combination.weights, strict=True))

    def to_frame(self) -> pl.DataFrame:
        """Return the ensemble's predictions, as ``evaluate`` and ``compare`` take them."""
        built = self.built
        known = ~np.isnan(built.p_all)
        found = _table(built.scores.take(known), built.model, built.p_all[known])
        return found.with_columns(model=pl.lit(built.name))

    def as_json(self) -> dict[str, Any]:
        """Return the weights of every method, and the comparison."""
        return {
            "name": self.built.name,
            "method": self.built.plan.method,
            "fitted": _fitted(self.built),
            "rivals": _rivals(self.built),
            "comparison": None if self.comparison is None else self.comparison.as_json(),
        }

    def tables(self) -> list[TextTable]:
        """Return the weights of every method that has some, and the metrics of all."""
        weights = _weights_table(self.built)
        if self.comparison is None:
            return [weights]
        plan = self.built.plan
        rows = [
            (model, paper_style(metrics["weighted_f1"]), paper_style(metrics["auc"]))
            for model, metrics in self.comparison.estimates.items()
        ]
        head = f"on {plan.apply} cells{', cross-fitted' * plan.nested}"
        found = [weights, TextTable.of((head, "weighted F1", "AUC"), rows)]
        columns = size_columns(self.comparison)
        beside = TextTable.of((head, *columns), size_rows(self.comparison))
        return [*found, beside] if columns else found

    def answers(self) -> list[str]:
        """Say how the ensemble stands to the mean, to its best member, and to size."""
        if self.comparison is None:
            return []
        sizes = size_sentences(self.comparison.of_models(shown_models(self.built)))
        return [*verdicts(self.built, self.comparison), *sizes]

    def notes(self) -> list[str]:
        """Say what bounds these metrics."""
        said = [*cautions(self.built), *readings_text(self.scores.readings)]
        if self.comparison is None:
            return [*said, f"The {self.built.plan.apply} cells have no labels to judge by."]
        if self.comparison.unlabelled:
            said.append(f"{self.comparison.unlabelled:,} cells without a label are left out.")
        return [
            *said,
            overlap_text(self.comparison.overlap),
            *pooled_text(self.comparison),
            f"Intervals: {sampling_text(self.comparison.sampling)}",
        ]

    def _title(self) -> str:
        return self.built.name

    def _write(self, out: Path) -> None:
        built, scores = self.built, self.scores
        _refuse_members_folder(scores, out)
        about = EnsembleFolder(
            built.name,
            built.chosen.combination,
            ensemble_members(scores.members, out),
            scores.synthetic,
            _fitted(built),
        )
        with only_one(out.absolute()):
            _clear(out, about, self.force, predictions_digest(self.to_frame()))
            write_ensemble(about, out)
            _write_rivals(built, out)
            write_json(out / "rivals.json", _rivals(built))
            if self.comparison is not None and self.errors is not None:
                write_json(out / "comparison.json", self.comparison.as_json())
                write_json(out / "errors.json", self.errors.as_json())
                settings = (out / ENSEMBLE).read_text("utf-8")
                page = ensemble_page(
                    built, self.comparison, self.errors, self.store, out / "figures", settings
                )
                write_text(out / PAGE, page)
            _write_predictions(self, out)  # last: it says that the ensemble is whole


def fit_ensemble(
    models: Models,
    *,
    out: AnyPath | None = None,
    method: str = "genetic",
    fit: str | None = None,
    apply: str = "test",
    nested: bool = False,
    votes: int | None = None,
    genetic: GeneticSettings | Mapping[str, Any] | None = None,
    store: AnyPath | None = None,
    resamples: int = 2000,
    seed: int = 24,
    force: bool = False,
) -> EnsembleResult:
    """Combine models into one, its weights fitted on one split part and reported on another.

    With ``out`` it writes ``ensemble.json`` (the members and their weights),
    ``predictions.parquet`` (of the chosen method), ``rivals.parquet`` (members and every method on
    the reported part) and ``rivals.json`` (every method's weights). If the reported part has
    labels, also ``comparison.json``, ``errors.json``, ``figures/`` and ``report.html``.

    Args:
        models: runs, ensembles or prediction tables, as :func:`blastscope.compare` takes them.
        out: the folder to write to; nothing is written without it.
        method: ``mean``, ``vote``, ``auc``, ``genetic``, ``grid``, ``caruana``, ``stacking`` or
            ``arbiter`` (docs/ensembles.md).
        fit: the part that weights are fitted on; ``validation``, or with ``nested`` ``apply``.
        apply: the part that is reported.
        nested: fit on the reported part itself, in folds.
        votes: with the method vote, how many models must call a cell ALL; the majority by default.
        genetic: settings of the genetic search; those of the paper by default.
        store: the store of these cells, for pictures, causes of errors, AUC at equal size, and each
            model's lead over the baselines of size, and of size and colour. A cell table or a table
            of boxes has the sizes alone.
        resamples: how many times to draw subjects and cells for the intervals.
        seed: of the search, the folds and the draws.
        force: replace another ensemble that is in ``out``.

    Returns:
        The weights, the predictions and the comparison.

    Raises:
        BlastscopeError: if the predictions do not go together, some are of a cross-validation and
            others are not, a part cannot be used, or ``out`` holds a member, a run or another
            ensemble.
    """
    if not isinstance(genetic, GeneticSettings):
        genetic = GeneticSettings(**{"seed": seed, **(genetic or {})})
    plan = EnsembleSettings(
        method, fit or (apply if nested else "validation"), apply, nested, genetic, seed, votes
    )
    scores = align_predictions(as_models(models))
    _refuse_folds_beside_others(scores)
    if out is not None:  # before the search
        _refuse_members_folder(scores, Path(out))
    opened, measured = as_measured_cells(store)
    built = build(scores, plan)
    comparison, errors = None, None
    if scores.every(plan.apply).cells["label"].is_not_null().any():
        comparison = compare_aligned(
            built.scores, plan.apply, resamples, plan.seed, _pairs(built), measured
        )
        sized = None if measured is None else comparison.of_models(scores.models)
        errors = analyse(scores, plan.apply, opened, sized)
    return EnsembleResult(built, scores, comparison, errors, opened, force).saved(out)


def _weights_table(built: Built) -> TextTable:
    """A column for each method that has weights."""
    weighed = {
        name: fitted.combination.weights
        for name, fitted in built.fitted.items()
        if fitted.combination.kind not in ("votes", "arbiter")
    }
    rows = [
        (member, *(float(weights[k]) for weights in weighed.values()))
        for k, member in enumerate(built.members)
    ]
    title = ""
    if built.fit_cells:
        other = "; the cross-fitted metrics below have weights of their own" * built.plan.nested
        title = f"Weights fitted on all {built.fit_cells:,} labelled {built.plan.fit} cells{other}:"
    return TextTable.of(("member", *weighed), rows, title)


def _fitted(built: Built) -> dict[str, Any]:
    """Say what the weights come from; what fits nothing has nothing to say of it."""
    plan = built.plan
    if plan.method in UNFITTED:
        return {"reported": plan.apply}
    about: dict[str, Any] = {
        "part": plan.fit,
        "reported": plan.apply,
        "cells": built.fit_cells,
        "nested": plan.nested,
    }
    if plan.nested:
        about |= {"by": built.nested[plan.method].by, "seed": plan.seed}
    if plan.method == "genetic":
        about["genetic"] = asdict(plan.genetic)
    return about


def _rivals(built: Built) -> dict[str, Any]:
    """Every method's weights and what its search knows of them; the chosen one's among them."""
    methods = {}
    for name, fitted in built.fitted.items():
        kept = {key: value for key, value in fitted.notes.items() if key != "history"}
        methods[name] = {**asdict(fitted.combination), **kept}
        if name in built.nested:
            folds = [asdict(combination) for combination in built.nested[name].combinations]
            methods[name]["folds"] = folds
    return {"format": "blastscope-rivals/1", "members": list(built.members), "methods": methods}


def _refuse_members_folder(scores: AlignedPredictions, out: Path) -> None:
    """Writing must never reach what is read."""
    home = out.resolve()
    for member in scores.members:
        if member.path and member.path.resolve() in (home, *(home / name for name in WRITTEN)):
            raise BlastscopeError(
                f"{member.path}, a member's predictions, would be replaced: choose another folder."
            )


def _clear(out: Path, about: EnsembleFolder, force: bool, predictions: str) -> None:
    """Make way for an ensemble: only for the very same, or where replacing was asked for.

    ``predictions`` is their digest: a member's table may say something else by now.
    """
    if (out / "checkpoint.safetensors").exists() or (out / "store.json").exists():
        raise BlastscopeError(f"{out} is a run or a store: choose another folder.")
    if (out / ENSEMBLE).exists():
        same = _is(out, about)
        if not same and not force:
            raise BlastscopeError(
                f"{out} holds another ensemble (other members, weights or settings): choose "
                "another folder, or replace it with `--force`."
            )
        stays = same and _digest_at(out / "predictions.parquet") == predictions
        for name in () if stays else ("figures", "evaluation"):
            remove_folder(out / name)
    elif not force:
        for path in (out / name for name in WRITTEN):
            if path.exists():
                raise BlastscopeError(
                    f"{path} is there already: choose another folder, or replace it with `--force`."
                )
    for name in WRITTEN:  # a page never stands beside results that are not its own
        with writing(out / name):
            (out / name).unlink(missing_ok=True)


def _is(out: Path, about: EnsembleFolder) -> bool:
    try:
        return read_ensemble(out) == about
    except BlastscopeError:
        return False


def _digest_at(path: Path) -> str | None:
    try:
        return predictions_digest(read_predictions(path)[0])
    except BlastscopeError:
        return None


def _write_predictions(result: EnsembleResult, out: Path) -> None:
    method = result.built.plan.method
    ensemble = sha256_of(out / ENSEMBLE)
    about = {"method": method, **_about(result.built, [method]), "ensemble": ensemble}
    write_predictions(result.to_frame(), out / "predictions.parquet", about)


def _about(built: Built, methods: Iterable[str]) -> dict[str, Any]:
    """Say of a table with the predictions of some methods which cells they were fitted on."""
    scores, plan = built.scores, built.plan
    fitted_on = {part for member in scores.members for part in member.metadata.get("fitted_on", ())}
    about: dict[str, Any] = {"protocol": scores.protocol, "synthetic": scores.synthetic}
    if plan.nested:
        about["cross_fitted"] = plan.apply
    elif not set(methods) <= set(UNFITTED):
        fitted_on.add(plan.fit)
    if (by := out_of_fold(scores)) is not None:
        about["out_of_fold"] = by
    return {**about, "fitted_on": sorted(fitted_on)}


def _refuse_folds_beside_others(scores: AlignedPredictions) -> None:
    """Refuse cross-validations beside others: no table says who predicted the cells of both."""
    folds = [one for one in scores.members if one.out_of_fold is not None]
    others = [one for one in scores.members if one.out_of_fold is None]
    if folds and others:
        raise BlastscopeError(
            f"{folds[0].where} is of a cross-validation and {others[0].where} is not: give "
            "cross-validations alone, or none."
        )


def _write_rivals(built: Built, out: Path) -> None:
    reported = built.scores.every(built.plan.apply)
    tables = [
        _table(reported, model, reported.p_all[:, k]) for k, model in enumerate(reported.models)
    ]
    write_predictions(pl.concat(tables), out / "rivals.parquet", _about(built, built.fitted))


def _table(scores: AlignedPredictions, model: str, p_all: NDArray[np.float64]) -> pl.DataFrame:
    found = scores.cells.with_columns(
        model=pl.lit(model), p_all=pl.Series(np.ascontiguousarray(p_all))
    )
    if scores.fold is None or out_of_fold(scores) is None:
        return found
    # Which of the model's networks predicted a cell.
    column = scores.fold[:, scores.models.index(model)]
    return found.with_columns(fold=pl.Series(np.ascontiguousarray(column)))


def _pairs(built: Built) -> list[tuple[str, str]]:
    """Hold the chosen method against every member and rival, and the mean against the members."""
    pairs = [(built.model, other) for other in built.scores.models if other != built.model]
    if built.plan.method != "mean":
        pairs += [(built.name_of("mean"), member) for member in built.members]
    return pairs
