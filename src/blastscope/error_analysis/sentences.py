"""The findings in plain sentences: what is told is decided by corrected p *and* size of effect."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from blastscope.data.traits import FLAGS
from blastscope.error_analysis.causes import (
    SIGNIFICANCE,
    Causes,
    Finding,
    FlagFinding,
    Group,
    SubjectFinding,
    TraitFinding,
)

NAMES = {"all": "ALL", "hem": "normal"}
_INDEPENDENT = (
    "The p-values take cells for independent draws, which cells of one person are not: go by the "
    "size of an effect and by what holds within subjects."
)
_WORDS = ("negligible", "small", "medium", "large")
_DELTA = (0.147, 0.33, 0.474)
_H = (0.2, 0.5, 0.8)
_V = (0.1, 0.3, 0.5)


def size_of(finding: Finding) -> str:
    """Name the size of an effect: negligible, small, medium or large.

    Cliff's delta by J. Romano and others (Annual meeting of the Florida Association of
    Institutional Research, 2006), h and V by J. Cohen (Statistical Power Analysis, 1988).
    """
    if isinstance(finding, TraitFinding):
        value, steps = finding.found.delta, _DELTA
    elif isinstance(finding, FlagFinding):
        value, steps = finding.found.h, _H
    else:
        value, steps = finding.found.v, _V
    return _WORDS[sum(abs(value) >= step for step in steps)]


def notable(finding: Finding) -> bool:
    """Whether a finding is both unlikely by chance, corrected, and of a size that matters."""
    return finding.corrected < SIGNIFICANCE and size_of(finding) != _WORDS[0]


def tell(causes: Causes, *, measured: bool) -> tuple[str, ...]:
    """Say what is missed, what it has in common in each class, and what could not be told.

    The first sentence says what a missed cell is, and counts them.

    Args:
        causes: the tests.
        measured: whether the cells' traits were at hand.
    """
    sentences = [_what_is_missed(causes)]
    for group in causes.groups:
        if not group.enough:
            sentences.append(_too_few(group))
            continue
        if group.of_one:
            sentences.append(
                f"All {group.hard + group.right:,} {NAMES[group.label]} cells are of one subject: "
                "what follows is about that person."
            )
        mine = [finding for finding in causes.findings if finding.label == group.label]
        told = [finding for finding in mine if notable(finding)]
        told.sort(key=_order)
        sentences += [_sentence(finding, group, causes.subjects) for finding in told]
        sentences += _rest(group.label, [finding for finding in mine if finding not in told])
    if causes.findings:
        sentences.append(_INDEPENDENT)
    if not measured:
        sentences.append(
            "What the cells look like was not measured: give the store of their pixels (--store)."
        )
    return tuple(sentences)


def answer_guess(causes: Causes, *, measured: bool) -> str:
    """Hold the paper's guess against these cells.

    To its authors' eyes, missed cells had more black background and more irregular shapes
    (Section 3.4.1). Irregular is taken as a lower solidity of the outline.
    """
    guess = "The paper guessed that missed cells have more black background and irregular shapes: "
    if not measured:
        return guess + "without a store of pixels this cannot be told."
    answers = []
    for group in causes.groups:
        name = NAMES[group.label]
        background = causes.trait(group.label, "background")
        solidity = causes.trait(group.label, "solidity")
        if background is None or solidity is None:
            answers.append(f"for {name} cells it cannot be told")
            continue
        black = _verdict(background, wanted=1)
        shape = _verdict(solidity, wanted=-1)
        whose = " (all of one subject)" if group.of_one else ""
        answers.append(f"among {name} cells{whose} the background {black} and the outline {shape}")
    return guess + "; ".join(answers) + "."


def _verdict(finding: TraitFinding, wanted: int) -> str:
    effect = f"(delta {finding.found.delta:+.2f}, {p_text(finding.corrected)})"
    if not notable(finding):
        return f"does not tell them apart {effect}"
    return ("supports it " if finding.found.delta * wanted > 0 else "says the opposite ") + effect


def p_text(p: float) -> str:
    """Write a p-value: ``p < .001`` or ``p = .012``; never rounded across the significance."""
    if p < 0.001:
        return "p < .001"
    digits = 4 if 0.045 <= p < 0.055 else 3
    return "p = " + f"{p:.{digits}f}".removeprefix("0")


def _order(finding: Finding) -> tuple[int, float]:
    """Put the largest effect first: traits, then flags, then the subject."""
    if isinstance(finding, TraitFinding):
        return 0, -abs(finding.found.delta)
    return (1, -abs(finding.found.h)) if isinstance(finding, FlagFinding) else (2, 0.0)


def _what_is_missed(causes: Causes) -> str:
    who = {1: "the model calls", 2: "either of the 2 models calls"}.get(
        causes.models, f"at least half of the {causes.models} models call"
    )
    counts = (
        f"{group.hard:,} of {group.hard + group.right:,} {NAMES[group.label]} cells"
        for group in causes.groups
    )
    return f"A missed cell is here one that {who} wrongly: {' and '.join(counts)}."


def _too_few(group: Group) -> str:
    name, kind = NAMES[group.label], "missed" if group.hard <= group.right else "called right"
    count = min(group.hard, group.right)
    if not group.hard + group.right:
        return f"There are no {name} cells."
    return (
        f"{count} of {group.hard + group.right:,} {name} cells {'is' if count == 1 else 'are'} "
        f"{kind}: too few to say what sets them apart."
    )


def _sentence(finding: Finding, group: Group, subjects: pl.DataFrame) -> str:
    name, size = NAMES[finding.label], size_of(finding)
    if isinstance(finding, TraitFinding):
        return _trait_sentence(name, finding, group, size)
    chance = f"{p_text(finding.corrected)} corrected"
    if isinstance(finding, FlagFinding):
        often = "more" if finding.found.risk_difference > 0 else "less"
        (hard, flagged), (hard_others, others) = finding.flagged, finding.others
        return (
            f"{name[0].upper()}{name[1:]} cells that {FLAGS[finding.flag]} "
            f"are missed {often} often: {hard} of {flagged:,} against {hard_others} of {others:,} "
            f"({100 * finding.found.risk_difference:+.0f} percentage points, {size}; {chance})."
        )
    worst = subjects.filter(pl.col("label") == finding.label).sort("low", descending=True)
    row = worst.row(0, named=True)
    return (
        f"It matters whose the {name} cells are: missed cells fall unevenly on the "
        f"{finding.subjects} subjects (Cramér's V {finding.found.v:.2f}, {size}; {chance}), most "
        f"surely on subject {row['subject']} ({row['hard']} of {row['cells']} missed)."
    )


def _trait_sentence(name: str, finding: TraitFinding, group: Group, size: str) -> str:
    trait, delta = finding.trait, finding.found.delta
    unit = f" {trait.unit}" if trait.unit else ""
    ours, theirs = (
        f"{value:.{trait.digits}f}{unit}" for value in (finding.median_hard, finding.median_right)
    )
    return (
        f"Missed {name} cells are {trait.more if delta > 0 else trait.less}: median {ours} against "
        f"{theirs} (delta {delta:+.2f}, {size}{_within(finding, group)}; "
        f"{p_text(finding.corrected)} corrected)."
    )


def _within(finding: TraitFinding, group: Group) -> str:
    """Say whether an effect holds within subjects; one person's own is no confirmation of it."""
    if group.of_one:
        return ""
    if not group.subjects:
        return "; within subjects not known"
    within, doubt = finding.within, ", so it may set subjects apart rather than cells"
    if within is None or finding.both < 2:
        who = "1 subject has" if finding.both else "no subject has"
        only = "only " if finding.both else ""
        return f"; {only}{who} both missed and right cells{doubt}"
    weak = within * finding.found.delta <= 0 or abs(within) < _DELTA[0]
    return f"; within subjects {within:+.2f} (of {finding.both}){doubt if weak else ''}"


def _rest(label: str, findings: Sequence[Finding]) -> list[str]:
    """Name what was tested and did not set the missed cells apart."""
    names = [short_name(finding) for finding in findings]
    if not names:
        return []
    return [f"Nothing to tell of missed {NAMES[label]} cells by: {', '.join(names)}."]


def short_name(finding: Finding) -> str:
    """Name what a finding is about, in a word or two."""
    if isinstance(finding, TraitFinding):
        return finding.trait.column.replace("_star", "*")
    if isinstance(finding, SubjectFinding):
        return "subject"
    return {"touches_frame": "touching the frame", "components": "several pieces"}[finding.flag]
