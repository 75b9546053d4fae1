"""Networks that are ready to answer: prepared cells in, one probability of ALL a cell out."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blastscope.bundle.network import BundledNetwork
from blastscope.data.crop import Pixels
from blastscope.data.store import StoreSettings
from blastscope.engines.engine import (
    Engine,
    Logits,
    check_device,
    mean_probability,
    view_probabilities,
)
from blastscope.errors import BlastscopeError
from blastscope.models.dihedral import CHANNELS_LAST, VIEWS, dihedral_view
from blastscope.prediction.members import Members
from blastscope.training.finished_run import FinishedRun

if TYPE_CHECKING:
    from blastscope.ood.detector import OodDetector

ENGINES = ("auto", "onnxruntime", "openvino", "torch")
Floats = NDArray[np.float64]
Prepared = Mapping[StoreSettings, Pixels]
"""The same cells as each way of preparing them makes them: uint8, (N, S, S, 3)."""


@dataclass(frozen=True)
class Answer:
    """What the networks say of cells, shape (N,) each.

    Attributes:
        p_all: the probability of ALL, not calibrated.
        spread: the standard deviation of the probability over the eight ways to lay the cell;
            None where it was not asked for.
    """

    p_all: Floats
    spread: Floats | None


class Predictor:
    """The networks of a run, an ensemble or a bundle, loaded once and asked many times.

    Attributes:
        voters: who votes, and how votes are added.
        settings: the different ways in which cells must be prepared for them.
        spreads: whether answers say how far the ways to lay a cell differ.
    """

    def __init__(
        self, voters: Members, *, engine: str = "auto", device: str = "auto", spread: bool = False
    ) -> None:
        """Take voters; networks are loaded when the first cell comes.

        Args:
            voters: as ``open_voters`` opens them.
            engine: one of ``ENGINES``. ``auto`` is PyTorch on a GPU and for what is no bundle,
                else ONNX Runtime.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``; only PyTorch goes by it.
            spread: whether to look at each cell in all eight ways, for ``Answer.spread``.

        Raises:
            BlastscopeError: where the engine is none, or cannot run these voters on that device.
        """
        if engine not in ENGINES:
            raise BlastscopeError(f"{engine!r} is no engine: choose one of {', '.join(ENGINES)}.")
        check_device(device)
        bundled = all(isinstance(run, BundledNetwork) for run in voters.runs)
        if engine not in ("auto", "torch") and not bundled:
            raise BlastscopeError(
                f"{engine} runs bundles, and {voters.name} is none: make one with blastscope "
                "bundle, or leave --engine out."
            )
        if engine not in ("auto", "torch") and device not in ("auto", "cpu"):
            raise BlastscopeError(f"{engine} computes on the CPU: leave --device {device} out.")
        self.voters, self.spreads = voters, spread
        self._engine = _choose(engine, device, bundled)
        self._device = device
        self.settings = tuple(dict.fromkeys(run.settings for run in voters.runs))

    @cached_property
    def engines(self) -> tuple[Engine, ...]:
        """The networks, one a voter, loaded when they are first asked for."""
        return tuple(self._load(run) for run in self.voters.runs)

    @cached_property
    def narrow(self) -> Predictor | None:
        """The same networks for several threads to ask at once, each of them answered on one core.

        Cores that work on different cells need not wait for one another after every layer. The
        answers are the same to the bit. None where the engine can do no such thing.
        """
        if self._engine != "onnxruntime":
            return None
        other = copy(self)
        other.engines = tuple(self._load(run, threads=1) for run in self.voters.runs)
        return other

    @cached_property
    def _known(self) -> tuple[tuple[StoreSettings, OodDetector], ...]:
        found = ((run.settings, run.ood()) for run in self.voters.runs)
        return tuple((settings, known) for settings, known in found if known is not None)

    def answer(self, prepared: Prepared) -> Answer:
        """Ask the networks about cells, prepared in every way of ``settings``.

        Raises:
            BlastscopeError: where a network cannot be loaded or run, or gives what is no number.
        """
        votes, views = [], []
        for run, engine in zip(self.voters.runs, self.engines, strict=True):
            pixels = prepared[run.settings]
            logits = engine.view_logits(pixels)
            if logits.shape != (len(pixels), engine.views) or not np.isfinite(logits).all():
                raise BlastscopeError(
                    f"A network of {self.voters.name} gives what is no number for each cell: use "
                    "another model, or train again."
                )
            votes.append(mean_probability(logits))
            if self.spreads:
                views.append(view_probabilities(_all_views(engine, pixels, logits)))
        p_all = self.voters.combination.apply(np.column_stack(votes))
        return Answer(p_all, self._spread_of(views))

    def ood(self, cell: Prepared) -> float:
        """Say how far one prepared cell, (S, S, 3), looks from anything that the networks know.

        Returns:
            The median over those networks that can tell: above 1 for what looks like no cell; NaN
            where none can.
        """
        told = [known.of(cell[settings][None])[0] for settings, known in self._known]
        return float(np.median(told)) if told else math.nan

    def _spread_of(self, views: list[Floats]) -> Floats | None:
        """Combine the networks' votes on each view, then see how far the views differ."""
        if not self.spreads:
            return None
        each = [
            self.voters.combination.apply(np.column_stack([of[:, k] for of in views]))
            for k in range(VIEWS)
        ]
        return np.asarray(np.std(each, axis=0))

    def _load(self, run: FinishedRun, threads: int | None = None) -> Engine:
        if self._engine == "torch" or not isinstance(run, BundledNetwork):
            return self._load_torch(run)
        model, weights, source = run.onnx(), run.weights(), f"{run.contents}/model.onnx"
        if self._engine == "openvino":
            from blastscope.engines.openvino import OpenVinoEngine

            return OpenVinoEngine(model, weights, source=source)
        from blastscope.engines.onnx_runtime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(model, weights, threads, source)

    def _load_torch(self, run: FinishedRun) -> Engine:
        from blastscope.engines.torch_engine import TorchEngine, choose_device

        device = choose_device(self._device)
        return TorchEngine(run.classifier(), run.recipe.prediction.views, device)


def _all_views(engine: Engine, pixels: Pixels, logits: Logits) -> Logits:
    """Return the logit of all eight views, (N, 8); ``logits`` are those that the engine makes."""
    if engine.views == VIEWS:
        return logits
    turned = (dihedral_view(pixels, k, CHANNELS_LAST) for k in range(1, VIEWS))
    rest = [engine.view_logits(np.ascontiguousarray(view)) for view in turned]
    return np.concatenate([logits, *rest], axis=1)


def _choose(engine: str, device: str, bundled: bool) -> str:
    if engine != "auto":
        return engine
    if not bundled or device in ("cuda", "mps"):
        return "torch"
    return "torch" if device == "auto" and _has_gpu() else "onnxruntime"


def _has_gpu() -> bool:
    """Ask PyTorch only where there may be one: importing it takes longer than a prediction."""
    if shutil.which("nvidia-smi") is None and sys.platform != "darwin":
        return False
    from blastscope.engines.torch_engine import has_gpu

    return has_gpu()
