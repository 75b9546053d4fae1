"""Build an ensemble: weights, predictions, rivals, pictures and one page, written to a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.compare.comparison import compare as hold_against
from blastscope.compare.outcome import Comparison
from blastscope.ensemble.build import Built, Plan, build
from blastscope.ensemble.fit import UNFITTED
from blastscope.ensemble.folder import (
    EnsembleFolder,
    ensemble_members,
    read_ensemble,
    write_ensemble,
)
from blastscope.error_analysis.analysis import ErrorAnalysis, analyse
from blastscope.errors import BlastscopeError
from blastscope.evaluate.scores import Scores, open_scores
from blastscope.evaluate.source import ENSEMBLE
from blastscope.files import only_one, sha256_of, write_json, write_text
from blastscope.predictions import write_predictions
from blastscope.prepare.store import Store, open_store
from blastscope.report.ensemble_page import ensemble_page


@dataclass(frozen=True)
class MadeEnsemble:
    """An ensemble on disk."""

    built: Built
    comparison: Comparison
    errors: ErrorAnalysis
    out: Path

    @property
    def report(self) -> Path:
        """The page to open."""
        return self.out / "report.html"


def make_ensemble(
    given: Sequence[str | Path],
    out: Path,
    plan: Plan,
    *,
    store: Path | None = None,
    resamples: int = 2000,
    force: bool = False,
) -> MadeEnsemble:
    """Combine runs or prediction tables into one model, and judge it beside its rivals.

    Writes ``ensemble.json`` (who votes, with which weights), ``predictions.parquet`` (of the
    chosen method, every cell that all members know), ``rivals.parquet`` (members and every method
    on the reported part), ``comparison.json``, ``errors.json``, ``figures/`` and ``report.html``.

    Args:
        given: runs, ensembles or prediction tables, each perhaps as ``NAME=PATH``.
        out: the folder to write to; the same command again makes the same.
        plan: the method, what it is fitted on and what is reported.
        store: the store of these cells, for pictures and causes of errors.
        resamples: of the intervals.
        force: replace another ensemble that is there.

    Raises:
        BlastscopeError: where the predictions do not go together, a part cannot be used, or
            ``out`` holds a run or another ensemble.
    """
    scores = open_scores(given)
    opened = None if store is None else open_store(store)
    built = build(scores, plan)
    about = EnsembleFolder(
        built.name,
        built.chosen.combination,
        ensemble_members(scores.members, out),
        scores.synthetic,
        _fitted(built),
    )
    with only_one(out.absolute()):
        _refuse_other(out, about, force)
        write_ensemble(about, out)
        _write_predictions(built, scores, out)
        comparison = hold_against(
            built.scores, plan.apply, resamples=resamples, seed=plan.seed, pairs=_pairs(built)
        )
        errors = analyse(scores, plan.apply, opened)
        write_json(out / "comparison.json", comparison.as_json())
        write_json(out / "errors.json", errors.as_json())
        made = MadeEnsemble(built, comparison, errors, out)
        write_text(made.report, _page(made, opened))
    return made


def _page(made: MadeEnsemble, store: Store | None) -> str:
    settings = json.dumps(json.loads((made.out / ENSEMBLE).read_text("utf-8")), indent=2)
    return ensemble_page(
        made.built, made.comparison, made.errors, store, made.out / "figures", settings
    )


def _fitted(built: Built) -> dict[str, Any]:
    """Say what the weights come from; what fits nothing has nothing to say of it."""
    plan = built.plan
    if plan.method in UNFITTED:
        return {"reported": plan.apply}
    settings = {"settings": asdict(plan.genetic)} if plan.method == "genetic" else {}
    return {
        "part": plan.fit,
        "reported": plan.apply,
        "nested": plan.nested,
        "cells": built.fit_cells,
        **settings,
    }


def _refuse_other(out: Path, about: EnsembleFolder, force: bool) -> None:
    if (out / "checkpoint.safetensors").exists():
        raise BlastscopeError(f"{out} is the folder of a run: choose another one with --out.")
    if (out / ENSEMBLE).exists() and not force and read_ensemble(out) != about:
        raise BlastscopeError(
            f"{out} holds another ensemble (other members, weights or settings): choose another "
            "folder, or give --force to replace it."
        )


def _write_predictions(built: Built, scores: Scores, out: Path) -> None:
    """Write the ensemble's table and, of the reported part, everybody's."""
    plan = built.plan
    about: dict[str, Any] = {
        "ensemble": sha256_of(out / ENSEMBLE),
        "method": plan.method,
        "protocol": scores.protocol,
        "synthetic": scores.synthetic,
    }
    if plan.method not in UNFITTED and not plan.nested:
        about["fitted_on"] = plan.fit
    known = ~np.isnan(built.p_all)
    cells = built.scores.take(known)
    write_predictions(
        _table(cells, built.name, built.p_all[known]), out / "predictions.parquet", about
    )
    reported = built.scores.part(plan.apply)
    tables = [
        _table(reported, model, reported.p_all[:, k]) for k, model in enumerate(reported.models)
    ]
    rest = {key: about[key] for key in ("protocol", "synthetic")}
    write_predictions(pl.concat(tables), out / "rivals.parquet", rest)


def _table(scores: Scores, model: str, p_all: NDArray[np.float64]) -> pl.DataFrame:
    return scores.cells.with_columns(
        model=pl.lit(model), p_all=pl.Series(np.ascontiguousarray(p_all))
    )


def _pairs(built: Built) -> list[tuple[str, str]]:
    """Hold the chosen method against every member and rival, and the mean against the members."""
    models = built.scores.models
    members = models[: -len(built.fitted)]
    pairs = [(built.model, other) for other in models if other != built.model]
    if built.plan.method != "mean":
        mean = models[len(members) + list(built.fitted).index("mean")]
        pairs += [(mean, member) for member in members]
    return pairs
