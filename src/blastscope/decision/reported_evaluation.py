"""Everything that is reported of one model: metrics, baselines, shortcuts, decisions, verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from blastscope.decision.assessment import DecisionAssessment
from blastscope.decision.fitting import NoDecision
from blastscope.evaluation.inductive import InductiveMetrics
from blastscope.evaluation.leakage import Leakage
from blastscope.evaluation.model_baselines import ModelBaseline
from blastscope.evaluation.prevalence import PredictiveValues
from blastscope.evaluation.result import Evaluation
from blastscope.evaluation.shortcuts import Shortcuts
from blastscope.evaluation.verdict import Verdict, count_folds, verdict
from blastscope.io.files import without_nan


@dataclass(frozen=True)
class ReportedEvaluation(Evaluation):
    """An evaluation, and what a reader has to know beside it.

    Attributes:
        decisions: the assessment of calibration, operating point, referral and conformal sets, or
            why there is none.
        baselines: rules without a network on the same cells, always-ALL first.
        shortcuts: whether the model follows the size of cells, and how subjects differ.
        predictive_values: of calls at p > 0.5, at each prevalence that was asked for.
        leakage: what an image-level split hides of this recipe, if it was measured.
        inductive: the metrics of the model's own probabilities, if those that are reported were
            corrected by neighbours.
    """

    decisions: DecisionAssessment | NoDecision
    baselines: tuple[ModelBaseline, ...]
    shortcuts: Shortcuts
    predictive_values: tuple[PredictiveValues, ...]
    leakage: Leakage | None
    inductive: InductiveMetrics | None = field(default=None, kw_only=True)

    @property
    def verdict(self) -> Verdict:
        """What a reader must know before any number."""
        error = None
        if not isinstance(self.decisions, NoDecision):
            error = self.decisions.after.ece, self.decisions.after.chance_limit
        return verdict(
            self.metrics,
            self.intervals.sampling,
            self.overlap,
            self.baselines,
            self.shortcuts,
            error,
            count_folds(self.cells) if self.shortcuts.within_folds else (0, 0),
        )

    def as_json(self) -> dict[str, Any]:
        """The content of ``metrics.json``, with verdict, baselines, shortcuts and leakage."""
        return {
            **super().as_json(),
            "verdict": self.verdict.as_json(),
            "baselines": {baseline.name: baseline.as_json() for baseline in self.baselines},
            "shortcuts": self.shortcuts.as_json(),
            "predictive_values": without_nan([asdict(one) for one in self.predictive_values]),
            "leakage": None if self.leakage is None else self.leakage.as_json(),
            **({} if self.inductive is None else {"inductive": self.inductive.as_json()}),
        }
