"""The Lightning module: one logit, the loss, and the metrics of every epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import lightning
import torch
from torch import nn
from torchmetrics import MeanMetric
from torchmetrics.classification import BinaryAccuracy

from blastscope.models.classifier import Classifier
from blastscope.models.head import box_loss
from blastscope.recipes.schema import Recipe
from blastscope.training.batches import Batch, Inputs, TrainingBatches
from blastscope.training.devices import ALONE, Rank
from blastscope.training.losses import heterogeneity, loss_function, smoothed
from blastscope.training.network_input import NetworkInput
from blastscope.training.optimizers import make_optimizer, make_schedule
from blastscope.training.shared_statistics import SharedStatistics
from blastscope.training.teacher_networks import TeacherNetworks


class LightningClassifier(lightning.LightningModule):
    """Trains a classifier by a recipe.

    Loss and accuracy of training are means over the epoch as it goes, with dropout on, as Keras
    prints them and so the paper; those of validation are of the epoch's end. Of several ranks each
    computes its share of a batch, and metrics are those of all cells.
    """

    def __init__(
        self,
        classifier: Classifier,
        network_input: NetworkInput,
        recipe: Recipe,
        class_weights: tuple[float, float],
        batches: Callable[[int], TrainingBatches],
        validation: Iterable[Batch],
        rank: Rank = ALONE,
        teachers: TeacherNetworks | None = None,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.recipe = recipe
        # Not a part of this module, or the weights that both share would be saved twice.
        self._network_input = (network_input,)
        self._teachers = teachers  # likewise
        self.class_weights = class_weights
        self._batches = batches
        self._validation = validation
        self.rank = rank
        self._loss = loss_function(recipe.training.loss)
        self._embeddings: tuple[torch.Tensor, ...] = ()
        if recipe.training.heterogeneity is not None:  # what enters the last layer is kept
            last = classifier.head.get_submodule("logit")
            last.register_forward_pre_hook(self._keep_embeddings)
        self.metrics = nn.ModuleDict(
            {
                f"{part}_{name}": metric()
                for part in ("train", "val")
                for name, metric in (("loss", MeanMetric), ("accuracy", BinaryAccuracy))
            }
        )

    def train_dataloader(self) -> Iterable[Batch]:
        """Return the batches of the coming epoch (the trainer asks for them every epoch)."""
        return replace(self.epoch(self.current_epoch), rank=self.rank)

    def val_dataloader(self) -> Iterable[Batch]:
        """Return the validation part, in order."""
        return self._validation

    def configure_optimizers(self) -> Any:
        """Return the recipe's optimiser over what is trainable, and its schedule, if it has one."""
        optimizer, settings = make_optimizer(self.recipe, self.classifier), self.recipe.training
        batches = len(self._batches(0))
        schedule = make_schedule(settings.schedule, optimizer, settings.epochs, batches)
        if schedule is None:
            return optimizer
        scheduler = {"scheduler": schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def on_fit_start(self) -> None:
        """Move what is not the classifier's to where the trainer has moved the classifier."""
        self._network_input[0].to(self.classifier_device)
        if self._teachers is not None:
            self._teachers.to(self.classifier_device)

    def on_train_epoch_start(self) -> None:
        """Seed dropout by the epoch, so that a resumed run draws what a whole one draws."""
        own = 1_000_000_007 * self.rank.number  # ranks drop different values
        torch.manual_seed(self.recipe.training.seed * 100_003 + self.current_epoch + own)

    @property
    def classifier_device(self) -> torch.device:
        """Where the classifier's weights are."""
        return next(self.classifier.parameters()).device

    def epoch(self, number: int) -> TrainingBatches:
        """Return the batches of an epoch, 0 for the first."""
        return self._batches(number)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return the logits (N,) of a batch."""
        return self._network_input[0](inputs)

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:
        """Return the weighted loss of a batch, with that of an auxiliary task."""
        together = self.rank.count > 1
        with SharedStatistics() if together else nullcontext():
            loss = self._loss_of(batch, number)
        if together:
            loss = loss * self.rank.weight(self.epoch(self.current_epoch).cells(number))
        return loss

    def _loss_of(self, batch: Batch, number: int) -> torch.Tensor:
        settings, auxiliary = self.recipe.training, self.recipe.model.auxiliary
        inputs, target = batch[:2]
        boxes = None
        if auxiliary is None:
            logit = self(inputs)
        else:
            assert isinstance(inputs, torch.Tensor)  # such a recipe has no cached features
            logit, boxes = self.classifier.with_boxes(inputs)
        label = target
        if self._teachers is not None:
            assert isinstance(inputs, torch.Tensor)  # likewise
            share = settings.distillation
            target = (1 - share) * target + share * self._teachers.probabilities(inputs)
        normal, blast = self.class_weights
        weight = target * blast + (1 - target) * normal  # a soft target is a share of both classes
        each = self._loss(logit, smoothed(target, settings.label_smoothing))
        loss: torch.Tensor = (each * weight).mean()
        if auxiliary is not None and boxes is not None:
            assert isinstance(inputs, torch.Tensor)
            loss = loss + auxiliary.box * box_loss(boxes, inputs)
        if settings.heterogeneity is not None and len(batch) == 3:
            apart = heterogeneity(self._embeddings[0], label > 0.5, batch[2])
            loss = loss + settings.heterogeneity.weight * apart
        if self.rank.weight(self.epoch(self.current_epoch).cells(number)):
            self._note("train", loss, logit, (label > 0.5).float())
        return loss

    def validation_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Note the unweighted loss of a batch, and return its logits."""
        inputs, target = batch[:2]
        logit: torch.Tensor = self(inputs)
        self._note("val", self._loss(logit, target).mean(), logit, target)
        return logit

    def _keep_embeddings(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._embeddings = inputs

    def on_validation_epoch_end(self) -> None:
        """Publish the validation metrics that stopping and the best epoch go by."""
        for name in ("val_loss", "val_accuracy"):
            self.log(name, self.metric(name))

    def metric(self, name: str) -> float:
        """Return a metric of the running epoch, ``train_loss`` or the like."""
        metric = self.metrics[name]
        assert isinstance(metric, MeanMetric | BinaryAccuracy)
        return float(metric.compute())

    def reset_metrics(self) -> None:
        """Forget the epoch's metrics."""
        for metric in self.metrics.values():
            metric.reset()  # type: ignore[operator]

    def _note(
        self, part: str, loss: torch.Tensor, logit: torch.Tensor, target: torch.Tensor
    ) -> None:
        self.metrics[f"{part}_loss"].update(loss.detach(), weight=len(target))  # type: ignore[operator]
        above = (logit.detach() > 0).float()  # p(ALL) above one half; BinaryAccuracy cuts at .5
        self.metrics[f"{part}_accuracy"].update(above, target.int())  # type: ignore[operator]
