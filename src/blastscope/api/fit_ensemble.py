"""Build an ensemble: weights, predictions, rivals, pictures and one page, written to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.store import open_store
from blastscope.ensemble.build import Built, EnsembleSettings, build
from blastscope.ensemble.ensemble_folder import (
    EnsembleFolder,
    ensemble_members,
    read_ensemble,
    write_ensemble,
)
from blastscope.ensemble.methods import UNFITTED
from blastscope.error_analysis.analysis import ErrorAnalysis, analyse
from blastscope.errors import BlastscopeError, writing
from blastscope.evaluation.aligned_predictions import AlignedPredictions, align_predictions
from blastscope.evaluation.comparison import compare as hold_against
from blastscope.evaluation.comparison_result import Comparison
from blastscope.evaluation.sources import ENSEMBLE
from blastscope.io.files import only_one, remove_folder, sha256_of, write_json, write_text
from blastscope.io.predictions import write_predictions
from blastscope.report.ensemble_page import ensemble_page

WRITTEN = (
    "predictions.parquet",
    "rivals.parquet",
    "rivals.json",
    "comparison.json",
    "errors.json",
    "report.html",
)
"""The files of an ensemble's folder beside ``ensemble.json``."""


@dataclass(frozen=True)
class MadeEnsemble:
    """An ensemble on disk; nothing is judged where the reported part has no labels."""

    built: Built
    comparison: Comparison | None
    errors: ErrorAnalysis | None
    out: Path

    @property
    def report(self) -> Path:
        """The page to open."""
        return self.out / "report.html"


def make_ensemble(
    given: Sequence[str | Path],
    out: Path,
    plan: EnsembleSettings,
    *,
    store: Path | None = None,
    resamples: int = 2000,
    force: bool = False,
) -> MadeEnsemble:
    """Combine runs or prediction tables into one model, and judge it beside its rivals.

    Writes ``ensemble.json`` (who votes, with which weights), ``predictions.parquet`` (of the
    chosen method), ``rivals.parquet`` (members and every method on the reported part) and
    ``rivals.json`` (every method's weights). Where the reported part has labels also
    ``comparison.json``, ``errors.json``, ``figures/`` and ``report.html``.

    Args:
        given: runs, ensembles or prediction tables, each perhaps as ``NAME=PATH``.
        out: the folder to write to; the same command again makes the same.
        plan: the method, what it is fitted on and what is reported.
        store: the store of these cells, for pictures and causes of errors.
        resamples: of the intervals.
        force: replace another ensemble that is there.

    Raises:
        BlastscopeError: where the predictions do not go together, a part cannot be used, or
            ``out`` holds a member, a run or another ensemble.
    """
    scores = align_predictions(given)
    _refuse_members_folder(scores, out)
    opened = None if store is None else open_store(store)
    built = build(scores, plan)
    comparison, errors = None, None
    if scores.every(plan.apply).cells["label"].is_not_null().any():
        comparison = hold_against(built.scores, plan.apply, resamples, plan.seed, _pairs(built))
        errors = analyse(scores, plan.apply, opened)
    about = EnsembleFolder(
        built.name,
        built.chosen.combination,
        ensemble_members(scores.members, out),
        scores.synthetic,
        _fitted(built),
    )
    with only_one(out.absolute()):
        _clear(out, about, force)
        write_ensemble(about, out)
        _write_rivals(built, out)
        write_json(out / "rivals.json", _rivals(built))
        made = MadeEnsemble(built, comparison, errors, out)
        if comparison is not None and errors is not None:
            write_json(out / "comparison.json", comparison.as_json())
            write_json(out / "errors.json", errors.as_json())
            settings = (out / ENSEMBLE).read_text("utf-8")
            page = ensemble_page(built, comparison, errors, opened, out / "figures", settings)
            write_text(made.report, page)
        _write_predictions(built, scores, out)  # last: it says that the ensemble is whole
    return made


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
    """Every method's weights and what its search knows of them; the chosen one's are no others."""
    methods = {}
    for name, fitted in built.fitted.items():
        kept = {key: value for key, value in fitted.notes.items() if key != "history"}
        methods[name] = {**fitted.combination.as_json(), **kept}
        if name in built.nested:
            folds = [combination.as_json() for combination in built.nested[name].combinations]
            methods[name]["folds"] = folds
    return {"format": "blastscope-rivals/1", "members": list(built.members), "methods": methods}


def _refuse_members_folder(scores: AlignedPredictions, out: Path) -> None:
    """Writing must never reach what is read."""
    home = out.resolve()
    for member in scores.members:
        if member.path and member.path.resolve() in (home, *(home / name for name in WRITTEN)):
            raise BlastscopeError(
                f"{member.path}, a member's predictions, would be replaced: choose another folder "
                "with --out."
            )


def _clear(out: Path, about: EnsembleFolder, force: bool) -> None:
    """Make way for an ensemble: only for the very same, or where replacing was asked for."""
    if (out / "checkpoint.safetensors").exists() or (out / "store.json").exists():
        raise BlastscopeError(f"{out} is a run or a store: choose another folder with --out.")
    if (out / ENSEMBLE).exists():
        same = _is(out, about)
        if not same and not force:
            raise BlastscopeError(
                f"{out} holds another ensemble (other members, weights or settings): choose "
                "another folder, or give --force to replace it."
            )
        for name in () if same else ("figures", "evaluation"):
            remove_folder(out / name)
    elif not force:
        there = next((name for name in WRITTEN if (out / name).exists()), None)
        if there is not None:
            raise BlastscopeError(
                f"{out / there} is there already and would be replaced: choose another folder, or "
                "give --force."
            )
    for name in WRITTEN:  # a page never stands beside figures that are not its own
        with writing(out / name):
            (out / name).unlink(missing_ok=True)


def _is(out: Path, about: EnsembleFolder) -> bool:
    try:
        return read_ensemble(out) == about
    except BlastscopeError:
        return False


def _write_predictions(built: Built, scores: AlignedPredictions, out: Path) -> None:
    plan = built.plan
    fitted_on = {part for member in scores.members for part in member.metadata.get("fitted_on", ())}
    about: dict[str, Any] = {
        "method": plan.method,
        "protocol": scores.protocol,
        "synthetic": scores.synthetic,
    }
    if plan.nested:
        about["cross_fitted"] = plan.apply
    elif plan.method not in UNFITTED:
        fitted_on.add(plan.fit)
    about |= {"fitted_on": sorted(fitted_on), "ensemble": sha256_of(out / ENSEMBLE)}
    known = ~np.isnan(built.p_all)
    table = _table(built.scores.take(known), built.name, built.p_all[known])
    write_predictions(table, out / "predictions.parquet", about)


def _write_rivals(built: Built, out: Path) -> None:
    reported = built.scores.every(built.plan.apply)
    tables = [
        _table(reported, model, reported.p_all[:, k]) for k, model in enumerate(reported.models)
    ]
    about = {"protocol": reported.protocol, "synthetic": reported.synthetic}
    write_predictions(pl.concat(tables), out / "rivals.parquet", about)


def _table(scores: AlignedPredictions, model: str, p_all: NDArray[np.float64]) -> pl.DataFrame:
    return scores.cells.with_columns(
        model=pl.lit(model), p_all=pl.Series(np.ascontiguousarray(p_all))
    )


def _pairs(built: Built) -> list[tuple[str, str]]:
    """Hold the chosen method against every member and rival, and the mean against the members."""
    pairs = [(built.model, other) for other in built.scores.models if other != built.model]
    if built.plan.method != "mean":
        pairs += [(built.name_of("mean"), member) for member in built.members]
    return pairs
