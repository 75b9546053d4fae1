"""The models of a workbench: bundles, known by their digests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.bundle.contents import is_bundle
from blastscope.bundle.read import Bundle, open_bundle
from blastscope.errors import BlastscopeError
from blastscope.prediction.models import PredictionModel, open_model
from blastscope.workbench.refusal import unknown
from blastscope.workbench.store.tables import StoredModel


def open_bundled(paths: Sequence[Path]) -> PredictionModel:
    """Open a bundle, to be run by ONNX Runtime.

    Raises:
        BlastscopeError: if it is not a bundle, or is damaged.
    """
    for path in paths:
        if not is_bundle(path):
            raise BlastscopeError(
                f"{path} is not a bundle: create one with `blastscope bundle`, or leave it out to "
                "use the model that comes with blastscope."
            )
    return open_model(paths, engine="onnxruntime", device="cpu")


def open_again(model: StoredModel) -> PredictionModel:
    """Open the bundle of a model that is known.

    Raises:
        BlastscopeError: as :func:`open_bundled`, or if another bundle lies in its place.
    """
    found = open_bundled([Path(path) for path in model.paths])
    _refuse_other(model, found.predictor.members.bundle)
    return found


def bundle_of(model: StoredModel) -> Bundle:
    """Return the bundle of a model that is known, without a network that is ready to run.

    Raises:
        BlastscopeError: if it is gone or damaged, or another bundle lies in its place.
    """
    found = open_bundle(Path(model.paths[0]))
    _refuse_other(model, found.digest)
    return found


def _refuse_other(model: StoredModel, digest: str | None) -> None:
    if digest != model.digest:
        raise BlastscopeError(
            f"the bundle at {model.paths[0]} is another one now: put {model.name} back, or score "
            "the case with another model"
        )


def register(session: Session, paths: Sequence[Path]) -> StoredModel:
    """Return the row of a model, which is made, or gets the model's new place, if needed.

    Raises:
        BlastscopeError: as :func:`open_bundled`.
    """
    found = open_bundled(paths)
    digest = str(found.predictor.members.bundle)
    model = session.scalar(select(StoredModel).where(StoredModel.digest == digest))
    if model is None:
        model = StoredModel(digest=digest)
        session.add(model)
    model.name = found.name
    model.synthetic = found.synthetic
    model.paths = [str(path.absolute()) for path in paths]
    model.facts = _facts(found)
    session.flush()
    return model


def _facts(model: PredictionModel) -> dict[str, Any]:
    by = model.decision
    members = model.predictor.members
    names = members.names or tuple(run.recipe.name for run in members.runs)
    return {
        "threshold": None if by is None else by.decision.point.threshold,
        "calibrated": by is not None,
        "decides": by is not None,
        "networks": list(names),
        "sizes": [settings.size for settings in model.predictor.settings],
        "scales": [settings.scale for settings in model.predictor.settings],
    }


def find_model(session: Session, model_id: int) -> StoredModel:
    """Return a model.

    Raises:
        RefusalError: if there is none of this number.
    """
    model = session.get(StoredModel, model_id)
    if model is None:
        raise unknown("model", model_id)
    return model


def model_json(model: StoredModel, blind: bool = False) -> dict[str, Any]:
    """Return what a page shows of a model."""
    told: dict[str, Any] = {
        "id": model.id, "name": model.name, "synthetic": model.synthetic, "digest": model.digest,
    }  # fmt: skip
    if not blind:
        told |= {
            "threshold": model.facts.get("threshold"),
            "calibrated": model.facts.get("calibrated", False),
            "networks": len(model.facts.get("networks", [])),
        }
    return told
