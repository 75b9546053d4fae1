"""A network's layers, the shapes that they give and their parameters (``network.json``)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn


def summarise(model: nn.Module, size: int) -> dict[str, Any]:
    """List the layers that an image passes through, in order.

    Args:
        model: takes images (N, 3, S, S) of 0..255.
        size: the side S of the images in pixels.

    Returns:
        ``layers`` with ``name``, ``type``, ``output`` (the shape without the batch), ``parameters``
        and ``trainable`` (how many of them are trained) for each; ``total`` and ``trainable``. A
        parameter that belongs to no single layer is listed with its owner, without an output.
        Running statistics are not parameters.
    """
    outputs = _outputs(model, size)
    layers = []
    for name, module in model.named_modules():
        parameters, trainable = _own(module)
        if name in outputs or parameters:
            about = {"name": name, "type": type(module).__name__, "output": outputs.get(name, [])}
            layers.append({**about, "parameters": parameters, "trainable": trainable})
    position = {name: index for index, name in enumerate(outputs)}
    layers.sort(key=lambda layer: position.get(str(layer["name"]), -1))
    totals = {key: sum(layer[key] for layer in layers) for key in ("parameters", "trainable")}
    return {"layers": layers, "total": totals["parameters"], "trainable": totals["trainable"]}


def _own(module: nn.Module) -> tuple[int, int]:
    """Count the parameters that a module has itself, all and trained."""
    own = list(module.parameters(recurse=False))
    return sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad)


def _restore(modes: list[tuple[nn.Module, bool]]) -> None:
    for module, training in modes:
        module.training = training


def _outputs(model: nn.Module, size: int) -> dict[str, list[int]]:
    """Send an empty image through, and note the shape of each layer's output, in order."""
    outputs: dict[str, list[int]] = {}

    def note(name: str, output: object) -> None:
        if isinstance(output, Tensor):
            outputs.setdefault(name, list(output.shape[1:]))

    modes = [(module, module.training) for module in model.modules()]
    with ExitStack() as hooks, torch.no_grad():
        for name, module in model.named_modules():
            is_layer = next(module.children(), None) is None or _own(module) != (0, 0)
            if is_layer and not isinstance(module, nn.Identity):
                hooks.enter_context(
                    module.register_forward_hook(lambda _m, _i, out, name=name: note(name, out))
                )
        hooks.callback(_restore, modes)
        device = next(model.parameters()).device
        model.eval()(torch.zeros(1, 3, size, size, device=device))
    return outputs
