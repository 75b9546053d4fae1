"""Write what a stress test found, in sentences."""

from __future__ import annotations

from blastscope.report.evaluation_text import overlap_text
from blastscope.report.text import LABELS, counted, listed, metric, number, percent
from blastscope.robustness.metrics import StepMetrics
from blastscope.robustness.ood_check import OodCheck
from blastscope.robustness.perturbation_plan import PERTURBATIONS, Perturbation
from blastscope.robustness.summary import NOTICED, ModelRobustness

METRICS = {"auc": "AUC", "weighted_f1": "weighted F1"}


def value_text(perturbation: Perturbation, value: float) -> str:
    """Write a value with its unit: ``+10°``, ``×1.2``, ``quality 50``."""
    if perturbation.unit == "quality":
        return f"quality {value:g}"
    if perturbation.log:
        return f"×{value:.3g}"
    two_sided = len(perturbation.values[0]) > 1
    text = f"{value:+g}" if two_sided else f"{value:g}"
    unit = perturbation.unit
    if unit == "stops" and abs(value) == 1:
        unit = "stop"
    return text.replace("-", "−") + (unit if unit == "°" else f" {unit}")


def verdict_text(model: ModelRobustness) -> str:
    """Name the perturbation that costs a model most, and how much it costs."""
    step = model.dearest(model.judged)
    return (
        f"{model.model}: {_step(step)} costs most: {METRICS[model.judged]} falls by "
        f"{_fall(model, step, model.judged)}."
    )


def model_text(model: ModelRobustness) -> tuple[str, ...]:
    """Write the further sentences on one model."""
    sentences = []
    if model.judged == "auc":
        step = model.dearest("weighted_f1")
        if step.drops["weighted_f1"].value > 0:
            fall = _fall(model, step, "weighted_f1")
            sentences.append(f"Weighted F1 falls most with {_step(step)}: by {fall}.")
        sentences.append(_noticed(model))
    if model.ood is not None:
        sentences.append(_flags(model.ood))
    return (*sentences, f"{counted(model.cells)}. {overlap_text(model.overlap)}")


def _fall(model: ModelRobustness, step: StepMetrics, name: str) -> str:
    before, after = (number(at.values[name], 3) for at in (model.unchanged, step))
    return f"{metric(step.drops[name], 3)}, from {before} to {after}"


def _step(one: StepMetrics) -> str:
    step = one.step
    assert step.perturbation is not None
    assert step.value is not None
    return f"{step.perturbation.shown} ({value_text(step.perturbation, step.value)})"


def _noticed(model: ModelRobustness) -> str:
    reached, never = [], []
    for one in PERTURBATIONS:
        at = [value_text(one, step.step.value or 0) for step in model.noticed(one)]
        if at:
            reached.append(f"{one.shown} ({listed(at)})")
        else:
            never.append(one.shown)
    drop = f"AUC drops by {NOTICED:.2f} or more"
    if not reached:
        return f"AUC never drops by {NOTICED:.2f} or more."
    text = f"{drop} from {listed(reached)}"
    return f"{text}; never with {listed(never, 'or')}." if never else f"{text}."


def _flags(found: OodCheck) -> str:
    shares = [f"{LABELS[label]} {percent(share)}" for label, share in found.by_class.items()]
    text = f"{percent(found.flagged)} of the cells are flagged as out-of-distribution"
    text += f" ({', '.join(shares)})"
    if found.worst is not None and found.worst[1] > 0:
        subject, share, cells = found.worst
        text += f", at most {percent(share)} of the {counted(cells)} of subject {subject}"
    kinds = [f"{kind.kind} {percent(kind.flagged, 0)}" for kind in found.kinds]
    return f"{text}; of images that are not cells: {', '.join(kinds)}."
