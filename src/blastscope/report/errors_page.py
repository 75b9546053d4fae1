"""The page of an error analysis: its sentences, tables and galleries of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.data.crop import resize
from blastscope.data.store import Store
from blastscope.data.traits import FLAGS, TRAITS
from blastscope.error_analysis.analysis import ErrorAnalysis, Pick
from blastscope.error_analysis.causes import (
    FEWEST,
    Causes,
    Finding,
    FlagFinding,
    Group,
    PaperGuess,
    SubjectFinding,
    TraitFinding,
    Within,
)
from blastscope.evaluation.comparison import Comparison
from blastscope.report.comparison_with_size import (
    NOT_MEASURED,
    auc_sentences,
    size_sentences,
    size_view,
)
from blastscope.report.errors_plots import MOST_SUBJECTS
from blastscope.report.evaluation_text import overlap_text
from blastscope.report.html import picture_uri, render, svg_uri
from blastscope.report.text import (
    LABELS,
    counted,
    every,
    listed,
    number,
    p_value,
    percent,
    readings_text,
    signed,
)

_GUESS = {
    "supports": "supports this",
    "contradicts": "says the opposite",
    "no-difference": "does not differ",
    "not-tested": "could not be tested",
}
MOST = 24
"""Cells that a gallery shows; ``cells.csv`` has all of them."""
SIDE = 96
"""Side of a cell's picture, in pixels."""
RESCUED = "Right in one model only"


@dataclass(frozen=True)
class GalleryCell:
    """One cell of a gallery; ``anchor`` is empty if an earlier gallery has shown the cell."""

    anchor: str
    row: int
    cell: str
    label: str
    detail: str


@dataclass(frozen=True)
class Gallery:
    """Cells of one kind, the first ``MOST`` of ``total``."""

    title: str
    note: str
    total: int
    cells: tuple[GalleryCell, ...]


def errors_html(
    analysis: ErrorAnalysis,
    pictures: Mapping[str, Path],
    store: Store | None,
    cell_pages: Mapping[int, str],
) -> str:
    """Render the self-contained page of an error analysis; arguments as :func:`errors_view`."""
    models = analysis.scores.models
    unlabelled = unlabelled_text(analysis)
    cautions = [(str(analysis.overlap.kind), overlap_text(analysis.overlap))]
    cautions += [("readings", text) for text in readings_text(analysis.scores.readings)]
    return render(
        "errors.html",
        title=f"Errors of {models[0] if len(models) == 1 else f'{len(models)} models'} on "
        f"{analysis.part} cells",
        synthetic=analysis.synthetic,
        protocol=analysis.scores.protocol,
        cautions=[*cautions, *([("unlabelled", unlabelled)] if unlabelled else [])],
        beside=None if analysis.sized is None else size_view(analysis.sized),
        sized=sized_text(analysis.sized),
        errors=errors_view(analysis, pictures, store, cell_pages),
    )


def errors_view(
    analysis: ErrorAnalysis,
    pictures: Mapping[str, Path],
    store: Store | None,
    cell_pages: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """Return what ``_errors.html`` reads as ``errors``.

    ``pictures`` are SVG files, as ``errors_plots.draw_errors`` returns them; cells are shown only
    with their store; ``cell_pages`` are addresses of the pages of single cells, by row.
    """
    uris = {name: svg_uri(path) for name, path in pictures.items()}
    drawn = ((trait.name, uris.get(f"trait-{trait.column}")) for trait in TRAITS)
    galleries = make_galleries(analysis)
    subjects = analysis.causes.subjects
    shown = subjects.group_by("label", maintain_order=True).head(MOST_SUBJECTS)
    more = subjects.height - shown.height
    cut = f"The {MOST_SUBJECTS} subjects of each class with the highest shares: errors.json has "
    causes = analysis.causes
    return {
        "analysis": analysis,
        "verdict": verdict_text(analysis),
        "missed_text": missed_text(causes),
        "sentences": causes_text(causes),
        "guess": guess_text(analysis.guess, causes),
        "findings": [(one, _table_name(one), finding_cells(one)) for one in causes.findings],
        "subjects": shown.to_dicts(),
        "subjects_cut": f"{cut}{number(more)} more." if more else "",
        "galleries": galleries,
        "cell_pictures": cell_pictures(analysis, galleries, store) if store else {},
        "pictures": uris,
        "trait_pictures": [(name, uri) for name, uri in drawn if uri],
        "cell_pages": cell_pages or {},
        "fewest": FEWEST,
    }


def _table_name(finding: Finding) -> str:
    return finding.trait.name if isinstance(finding, TraitFinding) else finding_name(finding)


def make_galleries(analysis: ErrorAnalysis) -> tuple[Gallery, ...]:
    """Make the galleries that have any cells.

    Where a cell is first shown on the page, it has the HTML id ``cell-<row>``, ``row`` being its
    row among the cells of the analysis.
    """
    models, missed = analysis.scores.models, analysis.missed_by_all
    several = len(models) > 1
    order = f"p(ALL) of {', '.join(models)}, in this order." if several else "With p(ALL)."
    kinds: list[tuple[str, str, Sequence[Pick], int]] = []
    if several:  # with one model this is the gallery of its most confident errors
        note = f"The most confident error first. {order}"
        kinds.append((f"Missed by {every(len(models))}", note, missed, len(missed)))
        note = f"Every other model misses these cells. {order}"
        kinds.append((RESCUED, note, analysis.rescued, len(analysis.rescued)))
    for model, confident in analysis.most_confident.items():
        errors = sum(row.errors for row in analysis.counts.of(model))
        note = f"The most confident error first. {order}"
        kinds.append((f"Most confident errors of {model}", note, confident, errors))
    seen: set[int] = set()
    galleries = []
    for title, note, picks, total in kinds:
        cells = []
        for pick in picks[:MOST]:
            anchor = "" if pick.row in seen else f"cell-{pick.row}"
            cells.append(_cell(analysis, pick, anchor, rescued=title == RESCUED))
            seen.add(pick.row)
        if cells:
            galleries.append(Gallery(title, note, total, tuple(cells)))
    return tuple(galleries)


def _cell(analysis: ErrorAnalysis, pick: Pick, anchor: str, *, rescued: bool) -> GalleryCell:
    cell, label = analysis.scores.cells.select("cell", "label").row(pick.row)
    detail = "p " + " · ".join(number(float(p), 2) for p in analysis.scores.p_all[pick.row])
    return GalleryCell(
        anchor, pick.row, cell, label, f"{detail}, right: {pick.model}" if rescued else detail
    )


def cell_pictures(
    analysis: ErrorAnalysis, galleries: Sequence[Gallery], store: Store
) -> dict[int, str]:
    """Make a data URI of each cell that any gallery shows, by the cell's row.

    A cell that several galleries show has one picture, which keeps the page small.
    """
    places = {cell: place for place, cell in enumerate(store.cells["cell"])}
    names = analysis.scores.cells["cell"]
    rows = {shown.row for gallery in galleries for shown in gallery.cells}
    return {
        row: picture_uri(resize(store.pixels[places[names[row]]], SIDE)) for row in sorted(rows)
    }


def sized_text(sized: Comparison | None) -> list[str]:
    """Write AUC and AUC at equal size, and which models are not clearly ahead of size."""
    if sized is None:
        return [NOT_MEASURED]
    return [*auc_sentences(sized), *size_sentences(sized)]


def missed_text(causes: Causes) -> str:
    """Define a missed cell and count the missed cells of each class."""
    who = {1: "the model calls", 2: "one of the 2 models calls"}.get(
        causes.models, f"at least half of the {causes.models} models call"
    )
    counts = []
    for group in causes.groups:
        cells = counted(group.hard + group.right, f"{LABELS[group.label]} cell")
        counts.append(f"{number(group.hard)} of {cells}")
    return f"A cell counts as missed here if {who} it wrongly: {listed(counts)}."


def causes_text(causes: Causes) -> tuple[str, ...]:
    """Say what the missed cells of each class have in common, and what could not be tested."""
    sentences = []
    for group in causes.groups:
        if not group.enough:
            sentences.append(_too_few(group))
            continue
        if group.of_one:
            sentences.append(
                f"All {number(group.hard + group.right)} {LABELS[group.label]} cells are from one "
                "subject: these findings hold for that subject only."
            )
        mine = [finding for finding in causes.findings if finding.label == group.label]
        notable = sorted((finding for finding in mine if finding.notable), key=_order)
        sentences += [_finding_text(finding, causes.subjects) for finding in notable]
        sentences += _rest(group, [finding for finding in mine if not finding.notable])
    if causes.findings:
        sentences.append(
            "The p-values treat cells as independent, but cells of one subject are alike: rely on "
            "the size of an effect and on what holds within subjects."
        )
    if not causes.measured:
        sentences.append(
            "Size, shape and stain of missed and right cells were not compared: give the store of "
            "these cells with --store."
        )
    return tuple(sentences)


def guess_text(guess: Sequence[PaperGuess], causes: Causes) -> str:
    """Say whether the findings support what the paper guessed about missed cells."""
    start = "The paper suggests that missed cells have more black background and irregular outlines"
    if not causes.measured:
        return f"{start}. This needs the store of these cells: give it with --store."
    answers = []
    for one in guess:
        traits = {
            "background": (one.background, causes.trait(one.label, "background")),
            "outline": (one.outline, causes.trait(one.label, "solidity")),
        }
        parts = [f"the {name} {_GUESS[code]}{_effect(f)}" for name, (code, f) in traits.items()]
        untested = {code for code, _ in traits.values()} == {"not-tested"}
        found = f"this {_GUESS['not-tested']}" if untested else listed(parts)
        answers.append(f"{LABELS[one.label]} cells: {found}")
    return f"{start}. {'. '.join(answer[0].upper() + answer[1:] for answer in answers)}."


def _effect(finding: TraitFinding | None) -> str:
    if finding is None:
        return ""
    return f" (delta {signed(finding.found.delta, 2)}, {p_value(finding.corrected)})"


def unlabelled_text(analysis: ErrorAnalysis) -> str:
    """Say how many cells of the part have no label; empty if all have one."""
    if not analysis.unlabelled:
        return ""
    every = analysis.unlabelled + analysis.scores.cells.height
    return (
        f"{number(analysis.unlabelled)} of {number(every)} {analysis.part} cells have no label and "
        "are left out."
    )


def finding_name(finding: Finding) -> str:
    """Name what a finding is about, in one to three words."""
    if isinstance(finding, TraitFinding):
        return finding.trait.column.replace("_star", "*")
    if isinstance(finding, SubjectFinding):
        return "subject"
    return {"touches_frame": "touching the frame", "components": "several pieces"}[finding.flag]


def finding_cells(finding: Finding) -> tuple[str, str, str, str]:
    """Write a finding's missed cells, right cells, effect with interval, effect within subjects."""
    if isinstance(finding, TraitFinding):
        found, digits = finding.found, finding.trait.digits
        effect = f"delta {signed(found.delta, 2)}"
        if found.low is not None and found.high is not None:
            effect += f" ({signed(found.low, 2)} to {signed(found.high, 2)})"
        within = "–"
        if finding.within is not None and finding.both > 1:
            within = f"{signed(finding.within, 2)} (of {finding.both})"
        medians = [number(x, digits) for x in (finding.median_hard, finding.median_right)]
        return medians[0], medians[1], effect, within
    if isinstance(finding, FlagFinding):
        (hard, flagged), (hard_others, others) = finding.flagged, finding.others
        effect = f"{signed(100 * finding.found.risk_difference, 1)} points"
        if finding.found.odds_ratio is not None:
            effect += f", odds ratio {number(finding.found.odds_ratio, 2)}"
        right, right_others = flagged - hard, others - hard_others
        missed = f"{number(hard)} of {number(hard + hard_others)}"
        return missed, f"{number(right)} of {number(right + right_others)}", effect, "–"
    return "–", "–", f"V {number(finding.found.v, 2)}", "–"


def _order(finding: Finding) -> tuple[int, float]:
    """Put the largest effect first: traits, then flags, then the subject."""
    kinds = (TraitFinding, FlagFinding, SubjectFinding)
    return kinds.index(type(finding)), -abs(finding.effect)


def _too_few(group: Group) -> str:
    cells = f"{LABELS[group.label]} cells"
    if not group.hard + group.right:
        return f"There are no {cells}."
    kind = "missed" if group.hard <= group.right else "called right"
    count = min(group.hard, group.right)
    return (
        f"{number(count)} of {number(group.hard + group.right)} {cells} "
        f"{'is' if count == 1 else 'are'} {kind}: too few to compare."
    )


def _finding_text(finding: Finding, subjects: pl.DataFrame) -> str:
    if isinstance(finding, TraitFinding):
        return _trait_text(finding)
    name, chance = LABELS[finding.label], f"{p_value(finding.corrected)}, corrected"
    if isinstance(finding, FlagFinding):
        often = "more" if finding.found.risk_difference > 0 else "less"
        (hard, flagged), (hard_others, others) = finding.flagged, finding.others
        return (
            f"{name[0].upper()}{name[1:]} cells that {FLAGS[finding.flag]} are missed {often} "
            f"often: {number(hard)} of {number(flagged)}, of the other cells {number(hard_others)} "
            f"of {number(others)} ({signed(100 * finding.found.risk_difference, 0)} percentage "
            f"points, {finding.size}; {chance})."
        )
    worst = subjects.filter(pl.col("label") == finding.label).sort("low", descending=True)
    row = worst.row(0, named=True)
    return (
        f"Missed {name} cells are spread unevenly over the {finding.subjects} subjects "
        f"(Cramér's V {number(finding.found.v, 2)}, {finding.size}; {chance}). The clearest case "
        f"is subject {row['subject']}: {row['hard']} of {row['cells']} cells missed."
    )


def _trait_text(finding: TraitFinding) -> str:
    trait, delta = finding.trait, finding.found.delta
    unit = f" {trait.unit}" if trait.unit else ""
    ours, theirs = (
        f"{number(value, trait.digits)}{unit}"
        for value in (finding.median_hard, finding.median_right)
    )
    return (
        f"Missed {LABELS[finding.label]} cells are {trait.more if delta > 0 else trait.less}: "
        f"median {ours}, of the other cells {theirs} (delta {signed(delta, 2)}, {finding.size}"
        f"{_within(finding)}; {p_value(finding.corrected)}, corrected)."
    )


def _within(finding: TraitFinding) -> str:
    doubt = ": it may tell subjects apart rather than cells"
    if finding.seen_within is Within.ONE_SUBJECT:
        return ""
    if finding.seen_within is Within.UNKNOWN:
        return "; within subjects not known"
    if finding.seen_within is Within.FEW_SUBJECTS:
        who = "only 1 subject has" if finding.both else "no subject has"
        return f"; {who} both missed and right cells{doubt}"
    within = f"; within subjects {signed(finding.within, 2)} (of {finding.both})"
    return within + (doubt if finding.seen_within is Within.WEAK else "")


def _rest(group: Group, findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    names = listed([finding_name(finding) for finding in findings], "or")
    return [f"Missed {LABELS[group.label]} cells do not notably differ in {names}."]


def verdict_text(analysis: ErrorAnalysis) -> str:
    """Say how many cells are missed, and which trait of the missed cells differs most."""
    total, counts = analysis.scores.cells.height, analysis.counts.total
    missed, models = sum(counts[1:]), len(analysis.scores.models)
    start = f"{number(missed)} of {counted(total, f'{analysis.part} cell')} "
    if models == 1:
        start += f"({percent(missed / total)}) are called wrongly"
    else:
        start += (
            f"are called wrongly by at least one of the {models} models, {number(counts[-1])} by "
            "every model"
        )
    notable = sorted((f for f in analysis.causes.findings if f.notable), key=_order)
    if not notable:
        tested = analysis.causes.findings
        return f"{start}; no tested trait differs notably." if tested else f"{start}."
    largest = notable[0]
    return (
        f"{start}; the largest difference from the other cells of their class: "
        f"{finding_name(largest)} of {LABELS[largest.label]} cells ({largest.size} effect)."
    )
