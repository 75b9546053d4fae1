"""Where and how precisely to compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blastscope.errors import BlastscopeError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")


def check_device(name: str) -> None:
    """Refuse what is no device's name, without PyTorch.

    Raises:
        BlastscopeError: where it is none.
    """
    if name not in DEVICES:
        raise BlastscopeError(f"{name!r} is no device: choose one of {', '.join(DEVICES)}.")


def choose_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is a GPU where there is one.

    Raises:
        BlastscopeError: where the name is none, or the device is not there.
    """
    import torch

    check_device(name)
    have = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if have[device])
    if not have[name]:
        raise BlastscopeError(f"There is no {name} device here: choose --device auto or cpu.")
    return torch.device(name)


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
