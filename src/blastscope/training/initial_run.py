"""Find the run that another one starts from, and check that it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, sha256_of
from blastscope.io.predictions import PSEUDO_LABELS
from blastscope.models.classifier import Classifier
from blastscope.recipes.schema import AVERAGED, Recipe
from blastscope.training.run_folder import RunFolder, load_checkpoint


def refuse_other_start(folder: RunFolder, start: Path | None) -> None:
    """Refuse to go on with a run that did not start from ``start``.

    Raises:
        BlastscopeError: if it started from another run.
    """
    if start is None:
        return
    recorded = read_json(folder.environment).get("starts_from", {})
    checkpoint = RunFolder(start).checkpoint
    if not checkpoint.is_file() or recorded.get("checkpoint") != sha256_of(checkpoint):
        raise BlastscopeError(
            f"{folder.path} did not start from {start} but from {recorded.get('run', 'no run')}: "
            "choose another folder for the new run."
        )


def notes_of_start(start: Path | None, weights: Path | None) -> dict[str, Any]:
    """Return what ``environment.json`` says of the run and pretrained weights it begins with."""
    notes: dict[str, Any] = {}
    if start is not None:
        checkpoint = sha256_of(RunFolder(start).checkpoint)
        notes["starts_from"] = {"run": str(start), "checkpoint": checkpoint}
    if weights is not None:
        notes["initial_weights"] = {"file": weights.name, "sha256": sha256_of(weights)}
    return notes


def find_start(
    recipe: Recipe, run: Path, start: Path | None, identity: dict[str, Any]
) -> Path | None:
    """Return the folder of the run whose weights a recipe starts from; None if it needs none.

    A mean of runs needs none, even if those runs started from another.

    Without ``start``, it is the only finished run of that recipe, on the same store and split,
    among the folders beside ``run``.

    Raises:
        BlastscopeError: if there is none, or it was trained on another store or split (whose
            training part may have cells that are now for testing).
    """
    averages = recipe.model.weights == AVERAGED
    if recipe.starts_from is None or averages:
        if start is not None:
            what = (
                "is a mean of runs and starts from none" if averages else "starts from no other run"
            )
            raise BlastscopeError(f"{recipe.name} {what}: leave --from out.")
        return None
    if start is not None:
        reason = misfit(start, recipe.starts_from, identity)
        if reason:
            raise BlastscopeError(f"{start} {reason}: give a finished run of {recipe.starts_from}.")
        return start
    beside = sorted(path for path in run.absolute().parent.glob("*") if path != run.absolute())
    fitting = [path for path in beside if not misfit(path, recipe.starts_from, identity)]
    if len(fitting) == 1:
        return fitting[0]
    what = "more than one" if fitting else "no"
    raise BlastscopeError(
        f"{recipe.name} starts from a run of {recipe.starts_from}, and {what} finished one on this "
        f"store and split is beside {run}: train it first, or name it with --from."
    )


def first_weights(run: Path) -> dict[str, Any]:
    """Return the file name and hash of the pretrained weights that a run began with.

    A run that started from another began with the weights of that one. Empty if they were random.

    Raises:
        BlastscopeError: if a run that it started from is missing.
    """
    seen: set[Path] = set()
    while run not in seen:
        seen.add(run)
        environment = read_json(RunFolder(run).environment)
        found, start = environment.get("initial_weights"), environment.get("starts_from")
        if found:
            return dict(found)
        if not start:
            break
        recorded = Path(str(start.get("run")))
        beside = run.parent / recorded.name  # if both were moved
        folder = next((one for one in (recorded, beside) if one.is_dir()), None)
        if folder is None:
            raise BlastscopeError(
                f"{run} started from the run {recorded}, which is missing: put it beside, so that "
                "it is known which weights training began with."
            )
        run = folder
    return {}


def load_run(classifier: Classifier, run: Path, name: str) -> None:
    """Fill a network with the weights of a finished run; ``name`` is what the network is of.

    Raises:
        BlastscopeError: if the run has another network.
    """
    weights = load_checkpoint(RunFolder(run).checkpoint)
    try:
        classifier.load_state_dict(weights)
    except RuntimeError as error:
        raise BlastscopeError(
            f"{run} has another network than {name}: give a run of the same backbone, cut and head."
        ) from error


def misfit(path: Path, name: str | None, identity: dict[str, Any]) -> str:
    """Return why a run does not fit; empty if it does.

    Args:
        name: the recipe that it must be of; None for any.
        identity: of the run that is to follow from it.
    """
    folder = RunFolder(path)
    if not folder.environment.is_file() or not folder.finished:
        return "is not a finished run"
    try:
        environment = read_json(folder.environment)
        fingerprint = sha256_of(folder.checkpoint)
    except (BlastscopeError, OSError):
        return "cannot be read"
    theirs = environment.get("identity")
    if not isinstance(theirs, dict) or name not in (None, theirs.get("recipe")):
        return "is a run of another recipe"
    if PSEUDO_LABELS in theirs:
        return "was trained with pseudo-labels of its test cells"
    for key in ("store", "split"):
        if theirs.get(key) != identity[key]:
            return f"was trained on another {key}"
    if environment.get("checkpoint") != fingerprint:
        return "has another checkpoint than it was trained to"
    return ""
