"""ImageNet weights, from a folder or from timm's hub; safetensors only, nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from blastscope.errors import BlastscopeError

HUB_FILE = "model.safetensors"
"""What timm calls the weights in each repository of its hub."""


def weights_name(config: Mapping[str, Any]) -> str:
    """Return timm's full name of a network's weights, such as ``vgg16.tv_in1k``."""
    tag = config.get("tag")
    return f"{config['architecture']}.{tag}" if tag else str(config["architecture"])


def weights_file(config: Mapping[str, Any], backbone: str, weights_dir: Path | None) -> Path:
    """Return the file with the ImageNet weights of a timm network.

    Args:
        config: what timm records of the network.
        backbone: the recipe's name of it.
        weights_dir: the folder that is looked in, and no other; where it is not given, the hub.

    Raises:
        BlastscopeError: where neither has them; it names the file that is wanted.
    """
    name = weights_name(config)
    if weights_dir is not None:
        path = weights_dir / f"{name}.safetensors"
        if not path.is_file():
            raise BlastscopeError(
                f"{weights_dir} has no weights for {backbone}: put {path.name} into it, "
                "or choose weights: none."
            )
        return path
    try:
        return _from_hub(config["hf_hub_id"])
    except Exception as error:  # the hub's client has some twenty ways to fail, most not its own
        raise BlastscopeError(
            f"timm's hub gave no weights for {backbone} ({type(error).__name__}): put "
            f"{name}.safetensors into a folder and give --weights-dir, or choose weights: none."
        ) from error


def weights_at_hand(config: Mapping[str, Any], weights_dir: Path | None) -> bool:
    """Whether :func:`weights_file` would find a network's weights; nothing is downloaded.

    Args:
        config: what timm records of the network.
        weights_dir: the folder that is looked in, and no other; where it is not given, the hub.
    """
    if weights_dir is not None:
        return (weights_dir / f"{weights_name(config)}.safetensors").is_file()
    repository = config.get("hf_hub_id")
    if not repository:  # timm has the network, but nobody's weights for it
        return False
    if isinstance(try_to_load_from_cache(repository, HUB_FILE), str):
        return True
    try:
        get_hf_file_metadata(hf_hub_url(repository, HUB_FILE))
    except Exception:  # the hub's client has some twenty ways to fail, most not its own
        return False
    return True


def _from_hub(repository: str) -> Path:
    try:
        return Path(hf_hub_download(repository, HUB_FILE, local_files_only=True))
    except LocalEntryNotFoundError:
        # Without a network this fails at once, where the download would try for half a minute.
        get_hf_file_metadata(hf_hub_url(repository, HUB_FILE))
        return Path(hf_hub_download(repository, HUB_FILE))


def load_weights(net: nn.Module, path: Path, unused: Sequence[str]) -> None:
    """Fill ``net`` from a safetensors file; half precision becomes single.

    Args:
        net: the network without its classifier.
        path: the file; it must hold every tensor of ``net``, in its shape.
        unused: the parts of the whole network, its classifier above all, that ``net`` lacks; only
            their tensors may be in the file beyond those of ``net``.

    Raises:
        BlastscopeError: where the file does not fit the network; the network is then as it was.
    """
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BlastscopeError(f"{path} cannot be read as safetensors ({error}).") from error
    wanted = net.state_dict()
    for key, tensor in wanted.items():
        _check(path, key, found.get(key), tensor)
    strange = [key for key in found if key not in wanted and key.split(".")[0] not in unused]
    if strange:
        raise BlastscopeError(
            f"{path} holds {strange[0]}, which this network does not have: "
            "it holds the weights of another."
        )
    net.load_state_dict({key: found[key].to(wanted[key].dtype) for key in wanted})


def _check(path: Path, key: str, found: Tensor | None, wanted: Tensor) -> None:
    if found is None:
        raise BlastscopeError(f"{path} lacks {key}: it does not hold this network's weights.")
    if found.shape != wanted.shape:
        raise BlastscopeError(
            f"{path} has {key} in the shape {list(found.shape)} where {list(wanted.shape)} is "
            "wanted: it holds the weights of another network or of another image size."
        )
    if found.is_floating_point() and not torch.isfinite(found).all():
        raise BlastscopeError(f"{path} has values in {key} that are not numbers: get it again.")
