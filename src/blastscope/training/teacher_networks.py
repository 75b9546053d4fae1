"""Teachers that judge every picture that a student sees, in place of a table of stored cells.

On cells that they were trained on, teachers repeat the labels. On rescaled, rotated and mixed cells
they tell more, so a student that sees them on the same pictures comes closer to them (Beyer et al.,
Knowledge distillation: a good teacher is patient and consistent, CVPR 2022, arXiv 2106.05237).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blastscope.errors import BlastscopeError
from blastscope.models.classifier import Classifier, build_model, choose_layout
from blastscope.recipes.library import read_recipe
from blastscope.training.initial_run import load_run, misfit
from blastscope.training.run_folder import RunFolder


@dataclass(frozen=True)
class TeacherNetworks:
    """Finished networks in evaluation mode, without their terms of size."""

    networks: tuple[Classifier, ...]

    def to(self, device: torch.device) -> None:
        """Move the networks to where the student is."""
        for network in self.networks:
            network.to(device)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probability (N,) of the networks' mean log-odds.

        Args:
            images: (N, 3, S, S), RGB, values 0..255: the very pictures that the student sees.
        """
        logits = torch.stack([network(images) for network in self.networks])
        return torch.sigmoid(logits.float().mean(dim=0))


def teacher_networks(
    runs: Sequence[Path], identity: dict[str, Any], device: torch.device
) -> TeacherNetworks:
    """Load the networks of runs that are to teach; each normalizes pictures in its own way.

    Raises:
        BlastscopeError: if a teacher is not a finished run on the store and split of ``identity``.
    """
    networks = []
    for run in runs:
        reason = misfit(run, None, identity) if run.is_dir() else "is not a run"
        if reason:
            raise BlastscopeError(
                f"{run} {reason}: a teacher of augmented cells (training.teachers_see) is a "
                "finished run on the same store and split."
            )
        theirs = read_recipe(RunFolder(run).recipe)
        network = build_model(theirs, pretrained=False)
        load_run(network, run, theirs.name)
        network.size_term = None  # the student has its own, outside of training
        network.to(memory_format=choose_layout(network, device))  # type: ignore[call-overload]
        networks.append(network.requires_grad_(False).eval())
    return TeacherNetworks(tuple(networks))
