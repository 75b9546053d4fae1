"""Put an adapted bundle together: the files of the old one, and what was fitted."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from blastscope import __version__
from blastscope.adaptation.cells import AdaptationCells, count_classes, count_subjects
from blastscope.adaptation.correction import Correction
from blastscope.adaptation.decide import adapted_decision, decision_content, sets_threshold
from blastscope.adaptation.fitting import AdaptationFit, corrected
from blastscope.bundle.contents import CARD, DECISION, MANIFEST, ONNX, WEIGHTS, Contents, digest_of
from blastscope.bundle.manifest import Adaptation, AdaptationStep, Manifest
from blastscope.bundle.network import BundledNetwork, checked
from blastscope.bundle.read import Bundle
from blastscope.bundle.write import BundleDraft, Files
from blastscope.data.names import ALL, HEM
from blastscope.decision.decision_file import decision_from
from blastscope.engines.engine import mean_probability
from blastscope.engines.last_layer import FeatureEngine, replace_last_layer, set_checkpoint
from blastscope.errors import BlastscopeError
from blastscope.io.files import without_nan

ADAPTED = ", adapted"
"""What the name of an adapted bundle ends in."""
_AGREES = {"full": 1e-4, "half": 5e-3}
"""How far p(ALL) of the new graph may be from what was fitted, by the precision of weights."""


def adapted_draft(source: Bundle, cells: AdaptationCells, found: AdaptationFit) -> BundleDraft:
    """Draft the adapted bundle of a bundle.

    Raises:
        BlastscopeError: if the last layer cannot be replaced, or the new graph does not compute
            what was fitted.
    """
    files, manifest = _files(source), source.manifest
    if found.correction is not None:
        manifest = _with_correction(source.networks[0], files, cells, found.correction)
    shipped = None if source.decision is None else source.decision.decision
    synthetic = manifest.synthetic or cells.synthetic
    name = manifest.name.removesuffix(ADAPTED) + ADAPTED
    content = decision_content(
        adapted_decision(cells, found, shipped),
        cells,
        found,
        shipped=shipped,
        model=name,
        checkpoint=_checkpoint(manifest),
        synthetic=synthetic,
    )
    content = without_nan(content)
    files[DECISION] = (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
    changes = {
        "made_by": f"blastscope {__version__}",
        "name": name,
        "title": f"{manifest.title}, adapted to {len(cells)} cells"[:200],
        "synthetic": synthetic,
        "adaptation": adaptation_entry(source, cells, found),
        "licence": None,  # whoever adapts chooses their own
        "files": {},
    }
    adapted = Manifest.model_validate({**dict(manifest), **changes})
    return BundleDraft(adapted, files, decision_from(content, Path(DECISION)))


def adaptation_entry(source: Bundle, cells: AdaptationCells, found: AdaptationFit) -> Adaptation:
    """Return what the manifest says of an adaptation."""
    shipped = None if source.decision is None else source.decision.decision
    by_class = {
        name: dict(zip((ALL, HEM), counts, strict=True))
        for name, counts in (
            ("cells", count_classes(cells.is_all)),
            ("subjects", count_subjects(cells.is_all, cells.subjects)),
        )
    }
    return Adaptation(
        bundle=source.digest,
        name=source.manifest.name,
        cells=by_class["cells"],
        subjects=by_class["subjects"],
        unnamed=cells.subjects.count(None),
        by=found.by,
        folds=found.folds,
        threshold=sets_threshold(cells, shipped),
        steps=tuple(AdaptationStep(**asdict(step)) for step in found.steps),
        before=found.before,
        after=found.after,
    )


def _files(source: Bundle) -> Files:
    """Read all files of a bundle but its card, its decision and its manifest."""
    contents = Contents(source.path)
    own = (name for name in source.manifest.files if name not in (CARD, DECISION))
    files = {name: checked(contents, source.manifest, name) for name in own}
    for network in source.networks:
        if network.manifest is source.manifest:
            continue
        inside, manifest = network.contents.inside, network.manifest
        files[inside + MANIFEST] = network.contents.read(MANIFEST)
        files |= {
            inside + name: checked(network.contents, manifest, name) for name in manifest.files
        }
    return files


def _with_correction(
    network: BundledNetwork, files: Files, cells: AdaptationCells, correction: Correction
) -> Manifest:
    """Put the corrected layer into ``files``, and return the manifest of the new weights."""
    old = network.manifest.network
    assert old is not None
    layer = correction.of(FeatureEngine(files[ONNX], files[WEIGHTS]).layer)
    model, weights = replace_last_layer(files[ONNX], files[WEIGHTS], layer)
    checkpoint = digest_of(weights)
    files[WEIGHTS], files[ONNX] = weights, set_checkpoint(model, checkpoint)
    prepared = cells.checked[network.settings]
    computed = FeatureEngine(files[ONNX], files[WEIGHTS]).compute(prepared).logits
    fitted = corrected(cells, correction, np.arange(len(prepared)))
    off = float(np.abs(mean_probability(computed[:, None]) - fitted).max())
    if not off < _AGREES[old.precision]:
        raise BlastscopeError(
            f"The graph with the new last layer differs from what was fitted by up to {off:.2g}, "
            f"and less than {_AGREES[old.precision]:g} is allowed: nothing was written."
        )
    others = tuple(one.model_copy(update={"own": False}) for one in network.manifest.evaluations)
    curve = network.manifest.size_curve
    if curve is not None:
        curve = curve.model_copy(update={"own": False})
    own = old.model_copy(update={"checkpoint": checkpoint})
    changed = {"network": own, "evaluations": others, "size_curve": curve}
    return network.manifest.model_copy(update=changed)


def _checkpoint(manifest: Manifest) -> str:
    if manifest.network is not None:
        return manifest.network.checkpoint
    assert manifest.ensemble is not None
    return manifest.ensemble.checkpoint
