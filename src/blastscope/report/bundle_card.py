"""The model card that travels with a bundle (Mitchell et al., FAT* 2019)."""

from __future__ import annotations

from blastscope import DISCLAIMER
from blastscope.bundle.manifest import Ensemble, EvaluationEntry, Manifest, Network, Preparation
from blastscope.decision.decision_file import DecisionFile
from blastscope.evaluation.bootstrap import SamplingUnits
from blastscope.report.decision_text import CALIBRATIONS, fitted_on_text, rule_text
from blastscope.report.evaluation_text import CITATION, sampling_text
from blastscope.report.text import DASH, escaped, interval, number, percent, protocol_name

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


def bundle_card(manifest: Manifest, decision: DecisionFile | None) -> str:
    """Write the card of a bundle, Markdown, from its manifest and decision."""
    lines = [
        f"# {escaped(manifest.name)}",
        "",
        escaped(manifest.title) + ".",
        "",
        f"**{DISCLAIMER}**",
    ]
    if manifest.synthetic:
        lines += ["", f"**{SYNTHETIC}**"]
    lines += ["", "## Use", "", escaped(manifest.intended_use), ""]
    lines += _metrics(manifest)
    lines += _decision(decision)
    if manifest.network is not None:
        lines += _network(manifest.network)
    if manifest.ensemble is not None:
        lines += _members(manifest.ensemble)
    if manifest.note:
        lines += [escaped(manifest.note), ""]
    lines += _limits(manifest)
    return "\n".join([*lines, f"Made by {manifest.made_by}.", ""])


def evaluated_on(found: EvaluationEntry) -> str:
    """Write which weights an evaluation is of, and which cells it was made on."""
    weights = (
        "These weights" if found.own else "Other weights of the same recipe, not these very ones"
    )
    return (
        f"{weights}, on {found.cells:,} {escaped(found.part)} cells, "
        f"{protocol_name(found.protocol)}; a cell is called ALL if p > 0.5."
    )


def metric_rows(found: EvaluationEntry) -> list[tuple[str, float, float | None, float | None]]:
    """Return the main metrics of an evaluation, each with the bounds of its interval."""
    return [
        (name, metric.value, metric.low, metric.high)
        for key, name in _NAMES.items()
        if (metric := found.metrics.get(key)) is not None
    ]


def interval_notes(manifest: Manifest) -> list[str]:
    """Write how the intervals of a bundle's evaluations were drawn, each way once."""
    found = (SamplingUnits.from_json(each.sampling) for each in manifest.evaluations)
    return list(dict.fromkeys(f"Intervals: {sampling_text(one)}" for one in found))


def preparation_steps(preparation: Preparation) -> list[str]:
    """Write how an image becomes what the network sees, so that others can do it again."""
    outline = "all its pieces" if preparation.contour == "union" else "the first of its outlines"
    steps = [
        "Decode to 8-bit RGB; lay transparency on black.",
        f"The cell is brighter than {preparation.threshold} of 255 in grey; its box holds "
        f"{outline}.",
    ]
    if preparation.scale == "crop":
        steps.append("Cut the box out and pad it with black, centred, to a square.")
    else:
        steps.append(
            f"Cut a square of {preparation.field} pixels of the image, centred on the box; what is "
            "outside box or image is black."
        )
    if preparation.clahe:
        steps.append("Equalize Y of YUV: CLAHE, clip limit 2, 8 × 8 tiles.")
    size = preparation.size
    steps.append(
        f"Resize to {size} × {size} pixels: by area to shrink it, bilinearly to enlarge it."
    )
    return steps


def _network(network: Network) -> list[str]:
    data = network.data
    trained, subjects = data.cells.get("train", {}), data.subjects
    of = f" of {subjects.get('all', 0)} ALL and {subjects.get('hem', 0)} normal subjects"
    initial = network.initial_weights
    start = (
        "Training began with random weights."
        if initial is None
        else f"Training began with ImageNet weights, `{initial.file}` (licence: "
        f"{escaped(initial.licence)})."
    )
    steps = enumerate(preparation_steps(network.preparation), start=1)
    return [
        "## What it is",
        "",
        f"`{network.recipe.model.backbone}`, images of {network.preparation.size} pixels a side, "
        f"weights in {network.precision} precision. {start}",
        "",
        f"Trained on {sum(trained.values()):,} cells ({trained.get('all', 0):,} ALL, "
        f"{trained.get('hem', 0):,} normal){of if subjects else ''}, split by "
        f"{escaped(data.protocol)}; the best epoch was chosen on "
        f"{sum(data.cells.get('validation', {}).values()):,} validation cells.",
        "",
        "A cell is prepared in these steps:",
        "",
        *(f"{place}. {step}" for place, step in steps),
        "",
    ]


def _members(ensemble: Ensemble) -> list[str]:
    how = ensemble.combination
    weighted = zip(ensemble.members, how["weights"], strict=True)
    return [
        "## What it is",
        "",
        f"An ensemble of {len(ensemble.members)} networks ({escaped(str(how['method']))}, "
        f"{escaped(str(how['kind']))}). Each member has its own card:",
        "",
        "| member | weight | card |",
        "|---|--:|---|",
        *(
            f"| {escaped(member.name)} | {weight:.4f} | members/{place}/card.md |"
            for place, (member, weight) in enumerate(weighted, start=1)
        ),
        "",
    ]


def _metrics(manifest: Manifest) -> list[str]:
    if not manifest.evaluations:
        return ["## Evaluation", "", "None: the model came without an evaluation.", ""]
    lines = ["## Evaluation", ""]
    for found in manifest.evaluations:
        lines += [
            f"**{evaluated_on(found)}**",
            "",
            "| metric | value | 95 % confidence interval |",
            "|---|--:|--:|",
        ]
        lines += [
            f"| {name} | {value:.4f} | {_bounds(low, high)} |"
            for name, value, low, high in metric_rows(found)
        ]
        lines.append("")
    for note in interval_notes(manifest):
        lines += [note, ""]
    return lines


def _bounds(low: float | None, high: float | None) -> str:
    return DASH if low is None or high is None else interval((low, high))


def _decision(decision: DecisionFile | None) -> list[str]:
    if decision is None:
        return ["## Decisions", "", "None: it gives probabilities and calls no cell.", ""]
    fitted = decision.decision
    point, referral = fitted.point, fitted.referral
    refers = f"A call of less confidence than {number(referral.threshold, 3)} is referred."
    if referral.threshold > 1:  # no share of calls is right often enough
        refers = "Every call is referred to an expert."
    return [
        "## Decisions",
        "",
        f"Probabilities {CALIBRATIONS[fitted.calibration.method]}. A cell is called ALL above "
        f"{number(max(point.threshold, 0), 3)}, chosen for {rule_text(point.rule)} (there: "
        f"sensitivity {number(point.sensitivity, 3)}, specificity {number(point.specificity, 3)}). "
        f"{refers} {fitted_on_text(decision.fitted_on)}",
        "",
        f"{percent(fitted.share_all, 0)} of those cells are ALL. If blasts are rarer or more "
        "frequent among yours, probabilities come out too high or too low.",
        "",
    ]


def _limits(manifest: Manifest) -> list[str]:
    lines = [
        "## Limits",
        "",
        "Metrics on subjects that are also in training are higher than on unseen subjects. Other "
        "stains, microscopes, foci and ways to crop cells were not tested unless an evaluation "
        "above says so. An image that does not show a cell is often, not always, flagged as "
        "out-of-distribution.",
        "",
    ]
    return lines if manifest.synthetic else [*lines, CITATION, ""]
