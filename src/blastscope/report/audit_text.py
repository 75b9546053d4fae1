"""Write what an audit of explanations found, in sentences."""

from __future__ import annotations

from blastscope.data.crop import FIELD
from blastscope.evaluation.interval_coverage import FEW_SUBJECTS
from blastscope.explanation.audit.curves import MUST_BEAT, OTHER, Blurred, RivalVerdict
from blastscope.explanation.audit.regions import BEYOND, ZONES, OffCell, Profile
from blastscope.explanation.audit.rows import FEWEST
from blastscope.explanation.audit.sanity_checks import Randomized, Undecided, WeightsVerdict
from blastscope.explanation.audit.size import RescaledMetrics, SizeQuestion, SizeVerdict
from blastscope.explanation.audit.summary import AuditSummary, CallSummary, Doubt, ModelAudit
from blastscope.explanation.tables import CURVES, METHODS
from blastscope.report.evaluation_text import coverage_text
from blastscope.report.text import (
    LABELS,
    counted,
    interval,
    listed,
    metric,
    number,
    percent,
    signed,
)

RANKERS = {
    **{column: METHODS.get(method, method) for method, column in CURVES.items()},
    OTHER: "another cell's map",
}
"""What ranks the pixels of a curve, as it is called on a page."""
TESTS = (
    "attribution on the cell (at least its share of the image), deletion and insertion (better "
    "than a random map and than another cell's map), and randomized weights"
)
RIVAL_VERDICTS = {
    RivalVerdict.BETTER: "better than {}",
    RivalVerdict.HARDLY_BETTER: "hardly better than {}",
    RivalVerdict.NO_DIFFERENCE: "no clear difference from {}",
    RivalVerdict.HARDLY_WORSE: "hardly worse than {}",
    RivalVerdict.WORSE: "worse than {}",
    RivalVerdict.TOO_FEW: "too few cells",
}
WEIGHTS = {
    WeightsVerdict.FOLLOWS: "follows the weights",
    WeightsVerdict.IN_PART: "follows the weights in part",
    WeightsVerdict.STAYS: "does not follow the weights",
    WeightsVerdict.UNDECIDED: "undecided",
}
SIZES = {
    SizeVerdict.HARDLY: "hardly any",
    SizeVerdict.PART: "part of it",
    SizeVerdict.MOSTLY: "most of it",
    SizeVerdict.ONE_CLASS: "undecided",
    SizeVerdict.NO_DECISION: "undecided",
    SizeVerdict.WIDE_INTERVAL: "undecided",
}
SEES = {
    "crop": "Its images are cut to the cell, so only the sharpness depends on a cell's size.",
    "keep": "It sees every cell in a field of the same width, and so its size.",
}
"""What a network sees of a cell's size, by how its cells were prepared."""
_ZONES = dict(
    zip(ZONES, ("in the inner half", "in the outer half", "beyond the outline"), strict=True)
)
PLACES = {"background": "the background", "debris": "debris"}
_LEAST_CUT = 0.005
MANY_CUT = 0.05
"""If the field cuts off more of the cells than this, the effect is not of size alone."""


def name_in_sentence(ranker: str) -> str:
    """Return the name of what ranks the pixels, as it stands within a sentence."""
    name = RANKERS[ranker]
    return name if ranker.startswith("grad") else name.lower()


def verdict_on(rival: str, verdict: RivalVerdict) -> str:
    """Write how Grad-CAM compares with a rival."""
    return RIVAL_VERDICTS[verdict].format(name_in_sentence(rival))


def answer_sentences(summary: AuditSummary) -> list[str]:
    """Say whose explanations can be believed, then of each other model why not."""
    if summary.passed:
        sentences = [f"The Grad-CAM maps of {listed(summary.passed)} pass all tests: {TESTS}."]
    else:
        sentences = [f"No model's Grad-CAM maps pass all tests: {TESTS}."]
    sentences += [f"{m.model} does not pass: {doubts_text(m)}." for m in summary.models if m.doubts]
    undecided = [m.model for m in summary.models if m.undecided]
    if undecided:
        sentences.append(
            f"It is undecided whether the maps of {listed(undecided)} follow the weights."
        )
    return sentences


def doubts_text(model: ModelAudit) -> str:
    """List the tests that a model does not pass, and how."""
    only = LABELS["all" if model.calls.called_all else "hem"]
    weights = "" if model.randomized is None else WEIGHTS[model.randomized.verdict]
    said = {
        Doubt.ONE_CLASS: f"it calls every cell {only}",
        Doubt.NOT_ABOVE_CHANCE: "it does not clearly tell the classes apart",
        Doubt.REGION_TOO_FEW: "attribution on the cell: too few cells",
        Doubt.LESS_ON_CELL: "less attribution on the cell than its share of the image",
        Doubt.NOT_RANDOMIZED: "randomized weights were not tested",
        Doubt.WEIGHTS: f"the map {weights}",
    }
    return "; ".join(
        said.get(doubt) or f"{doubt}: {not_beaten_text(model, doubt)}" for doubt in model.doubts
    )


def not_beaten_text(model: ModelAudit, kind: str) -> str:
    """Name the rivals that Grad-CAM does not beat; empty if it beats all that it must."""
    failed = model.not_beaten(kind)
    if len(failed) == len(MUST_BEAT) and set(failed.values()) == {None}:
        return "not measured"
    found = [
        f"not compared with {name_in_sentence(rival)}"
        if verdict is None
        else verdict_on(rival, verdict)
        for rival, verdict in failed.items()
    ]
    return listed([*dict.fromkeys(found)])


def intervals_text(summary: AuditSummary) -> str:
    """Say what the 95 % intervals were drawn from, and what they leave out."""
    draws, unlabelled = summary.draws, summary.unlabelled
    fewest = draws.sampling.fewest
    if summary.cells < FEWEST:
        return f"None: {counted(summary.cells)} are too few."
    start = f"{number(draws.resamples)} resamples of the"
    end = "within each class."
    if unlabelled:
        how_many = "no cell has a label"
        if unlabelled < summary.cells:
            have = "has" if unlabelled == 1 else "have"
            how_many = f"{number(unlabelled)} of {number(summary.cells)} cells {have} no label"
        end = f"regardless of class, because {how_many}."
    narrow = "differences between subjects are not in the intervals, which are too narrow"
    if draws.sampling.unit == "cell":
        return f"{start} cells, {end} The subjects are not known: {narrow}."
    if fewest == 1:
        where = "A class has" if not unlabelled else "The cells have"
        return f"{start} cells, {end} {where} a single subject: {narrow}."
    said = f"{start} subjects, each with all its cells, {end}"
    if fewest is not None and fewest <= FEW_SUBJECTS:
        said += f" There are few subjects ({fewest}): {coverage_text(fewest)}."
    return said


def model_text(model: ModelAudit, scale: str) -> tuple[str, ...]:
    """Write the sentences on one model; ``scale`` is how its cells were prepared."""
    sentences = [_calls(model.calls)]
    if model.blurred is not None:
        sentences.append(_blurred(model.blurred))
    if model.randomized is not None:
        sentences.append(_randomized(model.randomized))
    if model.by_radius is not None:
        profiles = " ".join(_profile(one) for one in model.by_radius.profiles)
        sentences.append(
            "Attribution by radius, above zero for ALL and below for normal, divided by the mean "
            f"absolute attribution of the image. {profiles}"
        )
    if model.size is not None:
        sentences += [_size(model.size), SEES[scale] + _cut(model.size)]
    return tuple(sentences)


def _calls(calls: CallSummary) -> str:
    text = f"It calls {number(calls.called_all)} of {counted(calls.cells)} ALL"
    if calls.auc is not None:
        text += f"; the AUC is {metric(calls.auc, 2)}"
    if calls.doubts:
        text += ". If hardly anything is decided, a map has hardly anything to show"
    return f"{text}."


def _blurred(blurred: Blurred) -> str:
    left = [f"{number(p, 2)} for calls of {LABELS[call]}" for call, p in blurred.p_called.items()]
    text = (
        f"If the whole image is blurred, {metric(blurred.kept, 0, percent=True)} of the calls stay "
        f"the same (mean probability of the call: {listed(left)})"
    )
    if not blurred.kept.value > 0:
        return f"{text}."
    return (
        f"{text}: for these calls colour and silhouette, or a preference for one class, are "
        "enough, and the curves say nothing about them."
    )


def _randomized(found: Randomized) -> str:
    last, between = found.stages[-1], found.between
    levels = (
        "with all weights randomized its mean absolute correlation with the trained network's map "
        f"is {number(last.correlation, 2)}; between the maps of different cells it is "
        f"{number(between.correlation, 2)} (difference {metric(found.excess, 3, sign=True)})"
    )
    text = f"The map {WEIGHTS[found.verdict]}: {levels}."
    if found.verdict is WeightsVerdict.UNDECIDED:
        text = _undecided(found, levels)
    if found.verdict in (WeightsVerdict.IN_PART, WeightsVerdict.STAYS):
        text += (
            " That much of it comes from the image and the architecture, not from what the network "
            "learned."
        )
    if found.easy and found.verdict is not WeightsVerdict.UNDECIDED:
        text += " The maps of different cells are similar here, so this test is easy to pass."
    if len(found.drawn) > 1:
        text += (
            f" The {len(found.drawn)} draws of random weights end between "
            f"{number(min(found.drawn), 2)} and {number(max(found.drawn), 2)}; the interval is "
            f"over {found.unit}s, not over draws."
        )
    return text


def _undecided(found: Randomized, levels: str) -> str:
    start = "It is undecided whether the map follows the weights"
    if found.undecided is Undecided.TOO_FEW_CELLS:
        return f"{start}: fewer than {FEWEST} cells have a map after all weights are randomized."
    if found.undecided is Undecided.MAPS_ALIKE:
        why = "the maps of different cells are so similar that a map has no room to change"
    elif found.undecided is Undecided.LITTLE_CHANGE:
        why = "the maps of different cells are similar too, and the map has changed little"
    else:
        why = f"{counted(found.stages[-1].cells)} are too few"
    return f"{start}: {levels}; {why}."


def _profile(found: Profile) -> str:
    said = {
        "all": "clearly for ALL {0}, {1}",
        "hem": "clearly for normal {0}, {1}",
        "neither": "for neither class clearly {0}, {1}",
        "too-few-cells": "{1} {0}, of too few cells",
        "not-measured": "not measured {0}",
    }
    zones = zip(_ZONES.values(), found.zones, found.directions, strict=True)
    found_in = [said[code].format(zone, metric(value, 2, sign=True)) for zone, value, code in zones]
    return f"In {LABELS[found.label]} cells: {'; '.join(found_in)}."


def _size(size: SizeQuestion) -> str:
    changed = f"At the same size, {metric(size.changed, 1, percent=True)} of the calls change"
    back = ""
    if size.changed_back is not None:
        back = f"; rescaled there and back, {metric(size.changed_back, 1, percent=True)} change"
    judged = size.judged
    if judged is None:
        return (
            f"{changed}{back}. How much of the decision depends on {size.by} is undecided: it "
            "needs labelled cells of both classes."
        )
    alone = f"The AUC of size alone (longer side of the box) is {metric(judged.size_alone, 2)}."
    before, after = judged.as_is["auc"], judged.same_size["auc"]
    if size.verdict is SizeVerdict.NO_DECISION:
        return (
            f"{changed}{back}. The model tells these cells apart no better than by chance (AUC "
            f"{metric(before, 2)}), so there is no decision to explain. {alone}"
        )
    fall = f"{number(before.value, 2)} to {number(after.value, 2)}"
    moved = f"{changed}, and the AUC goes from {fall} ({_difference(judged)})"
    if judged.there_and_back is not None:
        back += f", and the AUC is {metric(judged.there_and_back['auc'], 2)}"
    return f"{moved}{back}. {_share(size, judged)} {alone}"


def _difference(judged: RescaledMetrics) -> str:
    difference = judged.difference["auc"]
    bounds = interval(difference, 3)
    return signed(difference.value, 3) + (f", {bounds}" if bounds else "")


def _share(size: SizeQuestion, judged: RescaledMetrics) -> str:
    if size.verdict is SizeVerdict.WIDE_INTERVAL:
        return (
            f"How much of the decision depends on {size.by} is undecided: up to "
            f"{percent(judged.lost.high, 0)} of the AUC beyond chance may be lost with it."
        )
    if size.verdict is SizeVerdict.HARDLY:
        return f"Hardly any of the AUC beyond chance depends on {size.by}."
    return (
        f"{percent(judged.lost.value, 0)} of the AUC beyond chance depends on {size.by} "
        f"({SIZES[size.verdict]})."
    )


def _cut(size: SizeQuestion) -> str:
    """Say how many of the cells leave the field, scale by scale; empty if none does."""
    shares = [
        f"{percent(share, 0)} at ×{scale:g}"
        for scale, share in zip(size.scales, size.cut, strict=True)
        if share >= _LEAST_CUT
    ]
    if not shares:
        return ""
    text = f" But that field, of {FIELD} source pixels, cuts off {listed(shares)} of the cells"
    if max(size.cut) > MANY_CUT:
        text += ": at the hollow points a cell is not only larger but also cut off"
    return f"{text}."


def off_cell_text(found: OffCell) -> str:
    """Count the cells whose attribution lies on a region beside the cell."""
    have = "has" if found.total == 1 else "have"
    with_debris = "" if found.place == "background" else " with debris"
    place = PLACES[found.place]
    text = (
        f"{number(found.total)} of {counted(found.of)}{with_debris} {have} more attribution on "
        f"{place} than its share of the image, by more than {100 * BEYOND:g} percentage points"
    )
    if found.expected is None:
        return f"{text}."
    of = "" if found.expected_of == found.of else f" of {number(found.expected_of)}"
    text += f"; with the maps of other cells it would be {number(found.expected)}{of}."
    if found.not_above_expected:
        text += (
            " That is no more than expected: these cells may be named because of where they lie, "
            f"not because of {place}."
        )
    return text
