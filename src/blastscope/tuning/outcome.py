"""What a search found, without Optuna: trials, the best of them, and which keys mattered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from blastscope.data.folds import FoldCut
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.io.files import without_nan
from blastscope.tuning.search_folder import Search
from blastscope.tuning.space import Settings
from blastscope.tuning.study import hand_made_score, reason_of, seconds_of

if TYPE_CHECKING:
    import optuna

FINISHED, PRUNED, FAILED, RUNNING = "finished", "pruned", "failed", "running"
_FEWEST = 4
"""Finished trials below which no importance is computed."""


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        number: from 1.
        state: ``finished``, ``pruned``, ``failed`` or ``running``.
        score: of a finished trial.
        last: the score after its last reported epoch or fold; None if none was reported.
        steps: how many epochs or folds were reported.
        settings: by the keys of the space.
        reason: why it failed.
    """

    number: int
    state: str
    score: float | None
    last: float | None
    steps: int
    seconds: float | None
    settings: Settings
    reason: str = ""


@dataclass(frozen=True)
class Judgement:
    """What subjects say that took no part in the search, the only time that they are asked.

    Attributes:
        winner, hand_made, difference: of the objective, with 95 % intervals by subject; the
            difference is that of the winner minus the hand-made recipe.
        cells, subjects: how many they are.
        looks: trials before it.
    """

    winner: Estimate
    hand_made: Estimate
    difference: Estimate
    cells: int
    subjects: int
    looks: int

    def as_json(self) -> dict[str, Any]:
        """The judgement as JSON, with null for what is undefined."""
        found: dict[str, Any] = without_nan(asdict(self))
        return found

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Judgement:
        """Read what :meth:`as_json` wrote."""
        return cls(
            winner=_estimate(content["winner"]),
            hand_made=_estimate(content["hand_made"]),
            difference=_estimate(content["difference"]),
            cells=int(content["cells"]),
            subjects=int(content["subjects"]),
            looks=int(content["looks"]),
        )


def _estimate(content: Mapping[str, Any]) -> Estimate:
    nan = float("nan")
    values = (content[name] for name in ("value", "low", "high"))
    return Estimate(*(nan if value is None else float(value) for value in values))


@dataclass(frozen=True)
class SearchOutcome:
    """What a search found.

    Attributes:
        hand_made: the score of the recipe that the search began with.
        importance: of each key, as a share of 1 (fANOVA); empty with too few finished trials.
        judged: None if the test part was not looked at.
        cut: how the folds of a trial were cut; None if it is scored on the validation part.
    """

    recipe: str
    objective: str
    scored_cells: int
    scored_subjects: int
    synthetic: bool
    leaks: bool
    hand_made: float
    trials: tuple[TrialRow, ...]
    importance: dict[str, float]
    judged: Judgement | None = None
    cut: FoldCut | None = None

    @property
    def folds(self) -> int:
        """How many folds a trial has, which may be fewer than were asked for; 0 without folds."""
        return 0 if self.cut is None else self.cut.folds

    def count(self, state: str) -> int:
        """Return how many trials are in a state."""
        return sum(one.state == state for one in self.trials)

    @property
    def looks(self) -> int:
        """How many trials looked at the validation cells, or tried to."""
        return len(self.trials) - self.count(RUNNING)

    @property
    def best(self) -> TrialRow | None:
        """The finished trial with the highest score, the first of equals."""
        done = [one for one in self.trials if one.score is not None]
        return max(done, key=lambda one: one.score or 0.0, default=None)

    @property
    def gain(self) -> float | None:
        """The winner's score minus that of the hand-made recipe, on the cells it was chosen by."""
        return None if self.best is None or self.best.score is None else (
            self.best.score - self.hand_made
        )  # fmt: skip

    @property
    def cost(self) -> float | None:
        """The winner's validation score minus its score on subjects that took no part."""
        if self.judged is None or self.best is None or self.best.score is None:
            return None
        return self.best.score - self.judged.winner.value

    @property
    def hand_made_drop(self) -> float | None:
        """The same difference of the hand-made recipe, which was not chosen by these cells."""
        return None if self.judged is None else self.hand_made - self.judged.hand_made.value

    def as_json(self) -> dict[str, Any]:
        """The outcome as JSON, with null for what is undefined."""
        content = asdict(self) | {"trials": [asdict(one) for one in self.trials]}
        content["folds"] = self.folds
        content["judged"] = None if self.judged is None else self.judged.as_json()
        best = self.best
        content["looks"] = {
            "total": self.looks, **{s: self.count(s) for s in (FINISHED, PRUNED, FAILED)}
        }  # fmt: skip
        content |= {"winner": None if best is None else asdict(best), "gain": self.gain}
        content |= {"selection_cost": self.cost, "hand_made_drop": self.hand_made_drop}
        found: dict[str, Any] = without_nan(content)
        return found


def read_outcome(search: Search, study: optuna.Study) -> SearchOutcome:
    """Read the study of a search whose hand-made recipe is scored."""
    base = hand_made_score(study)
    assert base is not None
    assert base.score is not None
    judged = search.judgement()
    return SearchOutcome(
        recipe=search.request.recipe.name,
        objective=search.scored.objective,
        scored_cells=search.scored.cells.height,
        scored_subjects=search.subjects,
        synthetic=search.store.synthetic,
        leaks=search.leaks,
        hand_made=base.score,
        trials=tuple(_row(search, one) for one in study.get_trials(deepcopy=False)),
        importance=_importance(search, study),
        judged=None if judged is None else Judgement.from_json(judged),
        cut=search.cut,
    )


def _row(search: Search, trial: optuna.trial.FrozenTrial) -> TrialRow:
    from optuna.trial import TrialState

    names = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}
    reported = trial.intermediate_values
    return TrialRow(
        number=trial.number + 1,
        state=names.get(trial.state, RUNNING),
        score=trial.value if trial.state == TrialState.COMPLETE else None,
        last=reported[max(reported)] if reported else None,
        steps=len(reported),
        seconds=seconds_of(trial),
        settings=search.request.space.decoded(trial.params),
        reason=reason_of(trial),
    )


def _importance(search: Search, study: optuna.Study) -> dict[str, float]:
    """Compute how much of the scores' variance each key explains; empty if they do not vary."""
    import optuna
    from optuna.trial import TrialState

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    values = {one.value for one in done}
    if len(done) < _FEWEST or len(values) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=search.request.seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(value) for key, value in found.items()}
