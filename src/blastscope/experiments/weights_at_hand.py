"""Whether trainings would begin with the pretrained weights that the runs beside them began with.

It is asked before anything is trained: an experiment that goes on with other files of a
``--weights-dir`` is refused in the end (:mod:`blastscope.experiments.initial_weights`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, sha256_of
from blastscope.models.pretrained import PARTS, network_config, weights_file, weights_name
from blastscope.recipes.schema import Recipe
from blastscope.training.run_folder import RunFolder

Digests = dict[str, tuple[str, Path]]
"""By the name of weights, the ``sha256:`` and the path of their file."""


def weights_at_hand(recipes: Iterable[Recipe], weights_dir: Path | None) -> Digests:
    """Return the files of pretrained weights that recipes would begin with now.

    Files that are missing are left out: training says so.
    """
    found: Digests = {}
    models = {
        (one.model.backbone, one.model.cut): one.model for one in recipes if one.begins_with_weights
    }
    for model in models.values():
        config = network_config(model.backbone)
        if config is None:
            continue
        try:
            path = weights_file(config, model.backbone, weights_dir, model.cut)
        except BlastscopeError:
            continue
        name = _name(model.backbone, path.name)
        if name not in found:
            found[name] = (sha256_of(path), path)
    return found


def refuse_weights_at_hand(
    begun: Iterable[tuple[Recipe, Path]], left: Iterable[Recipe], weights_dir: Path | None
) -> None:
    """Refuse pretrained weights other than those that runs of the same network began with.

    Args:
        begun: recipes and folders of runs; those that have no weights yet are left out.
        left: the recipes that are to be trained beside them.
        weights_dir: where these look for weights.

    Raises:
        BlastscopeError: naming a run and the file that it did not begin with.
    """
    known: dict[str, dict[str, Path]] = {}
    for recipe, run in begun:
        weights = _recorded(run)
        if weights is not None:
            name = _name(recipe.model.backbone, weights[0])
            known.setdefault(name, {}).setdefault(weights[1], run)
    # Only of networks that have runs: those of others would be hashed, or downloaded, for nothing.
    alike = [one for one in left if known.keys() & _names(one.model.backbone)]
    for name, (digest, path) in weights_at_hand(alike, weights_dir).items():
        if name in known and digest not in known[name]:
            raise BlastscopeError(
                f"{next(iter(known[name].values()))} began with other pretrained weights than "
                f"{path}: give the --weights-dir of that run, or choose another folder."
            )


def _name(backbone: str, file: str) -> str:
    """Return the name of weights: that of their file if it has a part of them alone."""
    if Path(file).stem in PARTS.values():
        return Path(file).stem
    config = network_config(backbone)
    return backbone if config is None else weights_name(config)


def _names(backbone: str) -> set[str]:
    """Return the names that the weights of a network may have."""
    name = _name(backbone, "")
    return {name, PARTS.get(name, name)}


def _recorded(run: Path) -> tuple[str, str] | None:
    """Return name and ``sha256:`` of the file that a run began with; None without weights yet."""
    folder = RunFolder(run)
    if not folder.begun or not folder.environment.is_file():
        return None
    weights = read_json(folder.environment).get("initial_weights")
    if not isinstance(weights, dict) or not weights.get("sha256"):
        return None
    return str(weights.get("file")), str(weights["sha256"])
