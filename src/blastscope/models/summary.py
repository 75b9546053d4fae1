"""A network's layers, the shapes that they give and their parameters (``network.json``)."""

from __future__ import annotations

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
        Running statistics are no parameters.
    """
    outputs = _outputs(model, size)
    layers = []
    for name, module in model.named_modules():
        if name not in outputs and _own(module) == (0, 0):
            continue
        parameters, trainable = _own(module)
        layers.append(
            {
                "name": name,
                "type": type(module).__name__,
                "output": outputs.get(name, []),
                "parameters": parameters,
                "trainable": trainable,
            }
        )
    position = {name: index for index, name in enumerate(outputs)}
    layers.sort(key=lambda layer: position.get(str(layer["name"]), -1))
    return {
        "layers": layers,
        "total": sum(int(layer["parameters"]) for layer in layers),
        "trainable": sum(int(layer["trainable"]) for layer in layers),
    }


def _own(module: nn.Module) -> tuple[int, int]:
    """Count the parameters that a module has itself, all and trained."""
    own = list(module.parameters(recurse=False))
    return sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad)


def _outputs(model: nn.Module, size: int) -> dict[str, list[int]]:
    """Send an empty image through, and note what each layer gives, in order."""
    outputs: dict[str, list[int]] = {}

    def note(name: str, output: object) -> None:
        if isinstance(output, Tensor):
            outputs.setdefault(name, list(output.shape[1:]))

    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: note(name, output))
        for name, module in model.named_modules()
        if not isinstance(module, nn.Identity)
        and (next(module.children(), None) is None or _own(module) != (0, 0))
    ]
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    try:
        model.eval()
        with torch.no_grad():
            model(torch.zeros(1, 3, size, size, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    return outputs
