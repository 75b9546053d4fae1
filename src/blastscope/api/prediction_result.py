"""The predictions of a model for images: the table, what a screen shows, the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope import DISCLAIMER
from blastscope.api.result import AnyPath, Result, TextTable
from blastscope.decision.neighbourhood import STATEMENT
from blastscope.io.files import write_text
from blastscope.prediction.predict import Predicted
from blastscope.prediction.table import SUFFIXES, altered, write_table
from blastscope.report.decision_text import how_decided, intervals_held
from blastscope.report.generalization_text import SYNTHETIC
from blastscope.report.predictions_text import (
    FEW_CELLS,
    LINE_TEXT,
    NOT_ESTIMABLE,
    TRANSDUCTIVE_SHARES,
    altered_text,
)
from blastscope.report.text import LABELS

if TYPE_CHECKING:
    from blastscope.api.explain import ExplanationResult

MOST_SUBJECTS = 20
MOST_CELLS = 40
"""Cells and subjects that a screen shows."""
MOST_PROBLEMS = 10
PAGES = (".html", ".htm")
"""The suffixes of a page."""


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
        if experts and counts.out_of_distribution:
            experts += f" ({counts.out_of_distribution:,} of them out of distribution)"
        return [f"{self.model}: {counts.called_all:,} of {self._used:,} cells called ALL{experts}"]

    def notes(self) -> list[str]:
        """Say what could not be used, how cells were called, and what that rests on."""
        found = self.found
        said = [f"{sentence}." for sentence in found.notes]
        if self.path is None and self._used > MOST_CELLS:
            more = self._used - MOST_CELLS
            said.append(f"And {more:,} more cells: `--out FILE` writes them all.")
        said += [*self._problem_notes(), *altered_text(altered(found.frame))]
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

    def _problem_notes(self) -> list[str]:
        """Name the first images that could not be used, with the reasons."""
        problems = self.found.problems
        shown = problems.select("file", "problem").head(MOST_PROBLEMS)
        said = [f"not used: {file} {problem}" for file, problem in shown.iter_rows()]
        more = len(problems) - MOST_PROBLEMS
        return [*said, f"And {more:,} more that cannot be used."] if more > 0 else said

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
        if (subjects["cells"] < FEW_CELLS).any():
            said.append(
                f"A subject with fewer than {FEW_CELLS} cells has no share of blasts here (JSON "
                "has them all)."
            )
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
            f"Out of distribution: {count:,} of {self._used:,} images. The model was trained on "
            f"nothing like them: its probability for them means nothing.{self._next_step}"
        ]

    @property
    def _next_step(self) -> str:
        """What to give instead of images that are out of distribution."""
        return (
            " Give images of one cell each, cut out on black. If they are whole fields of a smear, "
            "give `--fields`."
        )

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
    called: dict[Any, Any] = {**LABELS, True: "yes", False: "", None: None}
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
    """Show the share of blasts of each subject that has cells enough, the largest first."""
    enough = pl.when(pl.col("cells") >= FEW_CELLS)
    shares = [enough.then(name).alias(name) for name in ("share", "low", "high", "line")]
    shown = subjects.with_columns(shares).sort(
        "share", "subject", descending=[True, False], nulls_last=True
    )
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
    shown = shown.with_columns(pl.col("label").replace(LABELS))
    return TextTable.of(
        columns.values(), shown.select(list(columns)).head(MOST_SUBJECTS).iter_rows()
    )
