"""The model card that travels with a bundle (Mitchell et al., FAT* 2019)."""

from __future__ import annotations

from blastscope import DISCLAIMER
from blastscope.bundle.manifest import Ensemble, EvaluationEntry, Manifest, Network
from blastscope.decision.decision_file import DecisionFile
from blastscope.report.decision_text import CALIBRATIONS, fitted_on_text, rule_text
from blastscope.report.evaluation_page import plain
from blastscope.report.evaluation_text import CITATION
from blastscope.report.text import protocol_name

SYNTHETIC = (
    "Trained on synthetic cells: it shows how the software works, and nothing it says of a real "
    "cell means anything."
)
_NAMES = {
    "weighted_f1": "weighted F1",
    "auc": "AUC",
    "recall_all": "sensitivity",
    "recall_hem": "specificity",
}


def bundle_card(manifest: Manifest, decides: DecisionFile | None) -> str:
    """Write the card of a bundle, Markdown, from what its manifest says."""
    lines = [f"# {plain(manifest.name)}", "", plain(manifest.title) + ".", "", f"**{DISCLAIMER}**"]
    if manifest.synthetic:
        lines += ["", f"**{SYNTHETIC}**"]
    lines += ["", "## Use", "", plain(manifest.intended_use), ""]
    if manifest.network is not None:
        lines += _network(manifest.network)
    if manifest.ensemble is not None:
        lines += _members(manifest.ensemble)
    if manifest.note:
        lines += [plain(manifest.note), ""]
    lines += _figures(manifest)
    lines += _decision(decides)
    lines += _limits(manifest)
    return "\n".join([*lines, f"Made by {manifest.made_by}.", ""])


def _network(network: Network) -> list[str]:
    data = network.data
    trained = data.cells.get("train", {})
    people = data.subjects
    who = (
        f" of {people.get('all', 0)} ALL and {people.get('hem', 0)} normal subjects"
        if people
        else ""
    )
    began = network.initial_weights
    start = (
        "It began with random weights."
        if began is None
        else f"It began with ImageNet weights, `{began.file}` (licence: {plain(began.licence)})."
    )
    return [
        "## What it is",
        "",
        f"`{network.recipe.model.backbone}`, images of {network.preparation.size} pixels a side, "
        f"weights in {network.precision} precision. {start}",
        "",
        f"Trained on {sum(trained.values()):,} cells ({trained.get('all', 0):,} ALL, "
        f"{trained.get('hem', 0):,} normal){who}, split by {plain(data.protocol)}; the best epoch "
        f"chosen on {sum(data.cells.get('validation', {}).values()):,} others.",
        "",
        "A cell is prepared so:",
        "",
        *(f"{number}. {step}" for number, step in enumerate(network.preparation.steps, start=1)),
        "",
    ]


def _members(ensemble: Ensemble) -> list[str]:
    how = ensemble.combination
    weights = how["weights"]
    rows = [
        f"| {plain(member.name)} | {weight:.4f} | members/{number}/card.md |"
        for number, (member, weight) in enumerate(
            zip(ensemble.members, weights, strict=True), start=1
        )
    ]
    return [
        "## What it is",
        "",
        f"The probabilities of {len(rows)} networks made one ({plain(str(how['method']))}, "
        f"{plain(str(how['kind']))}). Each has its own card:",
        "",
        "| network | weight | card |",
        "|---|--:|---|",
        *rows,
        "",
    ]


def _figures(manifest: Manifest) -> list[str]:
    if not manifest.evaluations:
        return ["## What it is worth", "", "Not known: it came without an evaluation.", ""]
    lines = ["## What it is worth", ""]
    for found in manifest.evaluations:
        lines += [f"**{which(found)}**", "", "| figure | value | 95 % interval |", "|---|--:|--:|"]
        lines += [_line(*row) for row in figure_rows(found)]
        lines.append("")
    for sentence in dict.fromkeys(found.intervals for found in manifest.evaluations):
        lines += [f"Intervals: {plain(sentence)}", ""]
    return lines


def which(found: EvaluationEntry) -> str:
    """Say whose figures an evaluation has, and on which cells."""
    whose = (
        "These weights" if found.own else "Other networks, trained alike (not these very weights)"
    )
    return (
        f"{whose}, on {found.cells:,} {plain(found.part)} cells, "
        f"{protocol_name(found.protocol)}, ALL where p > 0.5."
    )


def figure_rows(found: EvaluationEntry) -> list[tuple[str, float, float | None, float | None]]:
    """Return the figures that a reader asks for first, each with the ends of its interval."""
    return [
        (name, figure.value, figure.low, figure.high)
        for key, name in _NAMES.items()
        if (figure := found.figures.get(key)) is not None
    ]


def _line(name: str, value: float, low: float | None, high: float | None) -> str:
    bounds = "–" if low is None else f"{low:.3f} to {high:.3f}"
    return f"| {name} | {value:.4f} | {bounds} |"


def _decision(decides: DecisionFile | None) -> list[str]:
    if decides is None:
        return ["## Decisions", "", "None: probabilities as the network gives them.", ""]
    fitted = decides.decision
    point, referral = fitted.point, fitted.referral
    return [
        "## Decisions",
        "",
        f"Probabilities {CALIBRATIONS[fitted.calibration.method]}; a cell is called ALL above "
        f"{max(point.threshold, 0):.3f}, chosen for {rule_text(point.rule)} (on the cells that it "
        f"was chosen on: sensitivity {point.sensitivity:.3f}, specificity "
        f"{point.specificity:.3f}). {_referred(referral.threshold)} "
        + plain(fitted_on_text(decides.fitted_on)),
        "",
        f"A share of {fitted.share_all:.0%} of those cells was ALL: where blasts are rarer or "
        "commoner, probabilities come out too high or too low.",
        "",
    ]


def _referred(least: float) -> str:
    if least > 1:  # no share of calls is right often enough
        return "Every call goes to an expert."
    return f"A call less sure than {least:.3f} goes to an expert."


def _limits(manifest: Manifest) -> list[str]:
    lines = [
        "## Limits",
        "",
        "Cells of a person whose other cells were in training are easier than those of a stranger. "
        "Other stains, microscopes, foci and ways to cut cells out were not tried unless the "
        "figures above say so. An image that is not a cell is often, not always, flagged as "
        "out-of-distribution.",
        "",
    ]
    return lines if manifest.synthetic else [*lines, CITATION, ""]
