"""Stochastic weight averaging: the mean of the weights along the way instead of the best epoch's.

Izmailov et al. 2018 (Averaging Weights Leads to Wider Optima and Better Generalization,
arXiv 1803.05407) average the weights of epochs; Cha et al. 2021 (SWAD, arXiv 2102.08604) average
those of all steps, which holds better on domains that training has not seen. The statistics of
batch normalization are those of no epoch, so they are computed anew at the end.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.fabric.utilities import move_data_to_device
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from blastscope.models.classifier import Classifier
from blastscope.training.lightning_module import LightningClassifier

Weights = dict[str, torch.Tensor]


class WeightAverage(lightning.Callback):
    """Keeps the mean of the weights after each step from epoch ``first`` (1 is the first) on."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.steps = 0
        self.mean: Weights = {}

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        """Add the weights after a step."""
        if trainer.current_epoch + 1 >= self.first:
            assert isinstance(module, LightningClassifier)
            self.add(module.classifier)

    def add(self, classifier: Classifier) -> None:
        """Add a network's weights to the mean; in double precision, so that it has no drift."""
        self.steps += 1
        for name, weight in classifier.named_parameters():
            now = weight.detach().double().cpu()
            if self.steps == 1:
                self.mean[name] = now.clone()
            else:
                self.mean[name].add_((now - self.mean[name]) / self.steps)

    @property
    def finite(self) -> bool:
        """Whether there is a mean without NaN and infinity."""
        return bool(self.mean) and all(bool(one.isfinite().all()) for one in self.mean.values())

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"steps": self.steps, "mean": self.mean}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where an interrupted run left off."""
        self.steps = int(state_dict["steps"])
        self.mean = dict(state_dict["mean"])

    def weights(self, module: LightningClassifier, device: torch.device) -> Weights:
        """Return the mean, with batch normalization statistics of one more epoch of training cells.

        The weights of ``module`` become the mean.
        """
        classifier = module.classifier
        with torch.no_grad():
            for name, weight in classifier.named_parameters():
                weight.copy_(self.mean[name])
        estimate_statistics(module, device)
        return {k: v.detach().cpu().clone() for k, v in classifier.state_dict().items()}


def estimate_statistics(module: LightningClassifier, device: torch.device) -> None:
    """Compute anew the mean and variance of each batch normalization that is trained.

    They are plain means over the batches of one epoch, with the augmentation of training and
    without dropout. Layers that stay in evaluation mode keep theirs.
    """
    classifier = module.classifier.to(device)
    module.on_fit_start()
    classifier.train()
    momenta: dict[_BatchNorm, float | None] = {}
    for layer in classifier.modules():
        if isinstance(layer, _BatchNorm) and layer.training:
            momenta[layer] = layer.momentum
            layer.reset_running_stats()
            layer.momentum = None  # a cumulative mean
        elif isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.eval()
    if momenta:
        with torch.inference_mode():
            for batch in module.epoch(module.recipe.training.epochs):
                module(move_data_to_device(batch[0], device))
    for layer, momentum in momenta.items():
        layer.momentum = momentum
    classifier.eval()
