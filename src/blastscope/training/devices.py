"""Where and how precisely to compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def lightning_device(device: torch.device) -> dict[str, Any]:
    """Return the Lightning trainer's arguments for one such device."""
    return {"accelerator": "gpu" if device.type == "cuda" else device.type, "devices": 1}


def lightning_precision(setting: str, device: torch.device) -> Any:
    """Return Lightning's name of a recipe's precision.

    ``auto`` is bfloat16 where the device computes it fast (a CPU without its own unit for it is
    slower than in single precision).
    """
    import torch

    mixed = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if setting == "bf16" or (setting == "auto" and mixed) else "32-true"
