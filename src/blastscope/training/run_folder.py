"""The folder of a run: its files, and whether it is the run that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from blastscope.errors import BlastscopeError
from blastscope.io.files import (
    read_json,
    replacing,
    sha256_of,
    sha256_of_json,
    write_json,
    write_text,
)
from blastscope.io.predictions import predictions_digest
from blastscope.io.provenance import provenance
from blastscope.io.workfolder import FolderKind, WorkFolder, first_difference
from blastscope.recipes.library import read_recipe, recipe_yaml
from blastscope.recipes.schema import Recipe

_KIND = FolderKind("environment.json")


class _File:
    """A file of a run's folder: ``folder.checkpoint`` is its path."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: RunFolder, _: type[RunFolder]) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run."""

    path: Path

    recipe = _File("recipe.yaml")  # the resolved recipe
    history = _File("history.csv")  # one row for each epoch
    checkpoint = _File("checkpoint.safetensors")  # the best weights; written after training
    resume = _File("resume.ckpt")  # the state after the last whole epoch; removed after training
    ood = _File("ood.json")  # the OOD detector; runs of earlier versions have none
    predictions = _File("predictions.parquet")  # its presence says that the run is whole
    network = _File("network.json")  # the network's layers and parameters
    environment = _File("environment.json")  # the marker: identity, versions, machine, time

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return self.predictions.is_file()

    @property
    def begun(self) -> bool:
        """Whether the run has weights of its own, from which it goes on."""
        return self.finished or self.resume.is_file()

    def begin(self, recipe: Recipe, identity: dict[str, Any], start: dict[str, Any]) -> None:
        """Begin the folder, or go on with one of the same experiment and identity.

        ``start``, what the run starts from, is added to ``environment.json``. If only the
        recipe's title, notes or published metrics have changed since, ``recipe.yaml`` follows.

        Raises:
            BlastscopeError: if it is another run's or another kind's, or cannot be written.
        """
        folder = WorkFolder(self.path, _KIND, identity)
        if folder.recorded() is not None and self.recipe.is_file():
            self._refuse_other_experiment(recipe)
        folder.open_or_resume(start)
        text = recipe_yaml(recipe)
        if not self.recipe.is_file() or self.recipe.read_text(encoding="utf-8") != text:
            write_text(self.recipe, text)

    def _refuse_other_experiment(self, recipe: Recipe) -> None:
        found = read_recipe(self.recipe).experiment
        if found != recipe.experiment:
            raise BlastscopeError(
                f"{self.path} is a run of {recipe.name} that differs in "
                f"{first_difference(found, recipe.experiment)}: choose another folder, or remove "
                "it."
            )

    def end(self, seconds: float, device: torch.device, more: dict[str, Any]) -> None:
        """Add time, device, machine, versions and ``more`` to ``environment.json``."""
        content = read_json(self.environment)
        content |= {
            "checkpoint": sha256_of(self.checkpoint),
            "seconds": round(seconds, 3),
            **more,
            "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads(),
            **provenance(),
        }
        write_json(self.environment, content)

    def record_digests(self, recipe: Recipe, predictions: pl.DataFrame) -> None:
        """Add to ``environment.json`` the digests of what the run holds, for `blastscope verify`.

        It comes before the predictions are written, whose presence says that the run is whole; so
        theirs is of their rows, as the recipe's is of the experiment.
        """
        files = (self.checkpoint, self.history, self.network, self.ood)
        digests = {path.name: sha256_of(path) for path in files if path.is_file()}
        digests[self.recipe.name] = sha256_of_json(recipe.experiment)
        digests[self.predictions.name] = predictions_digest(predictions)
        write_json(self.environment, read_json(self.environment) | {"digests": digests})


def save_checkpoint(weights: dict[str, torch.Tensor], path: Path) -> str:
    """Write weights as safetensors and return the file's ``sha256:``, their fingerprint."""
    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    with replacing(path) as beside:
        beside.write_bytes(save(tensors))
    return sha256_of(path)


def load_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Read weights; nothing is unpickled.

    Raises:
        BlastscopeError: if the file is missing or damaged.
    """
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise BlastscopeError(f"{path} does not hold weights ({error}): train again.") from error
