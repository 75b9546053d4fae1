"""ImageNet weights by timm's names: found in a folder or in timm's hub, and loaded.

Which weights the packaged recipes need follows from the recipes and from what timm records of each
network. Files are safetensors; nothing is unpickled.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
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
from blastscope.recipes.library import load_recipe, recipe_names

HUB_FILE = "model.safetensors"
"""The name of the weights in each repository of timm's hub."""


@dataclass(frozen=True)
class KnownWeights:
    """Weights of timm's hub."""

    name: str  # timm's name of network and training, ``vgg16.tv_in1k``
    repository: str  # on the hub, ``timm/vgg16.tv_in1k``
    licence: str  # as timm records it, or where to read it
    size: int  # the side in pixels of the images that they were trained on

    @property
    def file(self) -> str:
        """The name of the file in a folder of weights."""
        return f"{self.name}.safetensors"

    @property
    def page(self) -> str:
        """The address of the model card on the hub."""
        return page_of(self.repository)

    @property
    def in_cache(self) -> bool:
        """Whether the hub's cache on this machine has them."""
        return isinstance(try_to_load_from_cache(self.repository, HUB_FILE), str)

    def is_in(self, folder: Path) -> bool:
        """Return whether a folder has a file of their name."""
        return (folder / self.file).is_file()


def page_of(repository: str) -> str:
    """Return the address of a repository's page on the hub."""
    return f"https://huggingface.co/{repository}"


def known_weights(name: str) -> KnownWeights:
    """Look weights up by timm's name; without a tag it means timm's default.

    Raises:
        BlastscopeError: if timm has no such weights, or none on its hub.
    """
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # a network that timm has, under a tag that it does not have
        config = None
    if config is None:
        architecture = name.partition(".")[0]
        near = timm.list_pretrained(f"{architecture}.*") or difflib.get_close_matches(
            architecture, timm.list_models(), n=3
        )
        hint = f"; near it are {', '.join(near[:5])}" if near else ""
        raise BlastscopeError(f"timm has no weights {name}{hint}.")
    if not config.hf_hub_id:
        raise BlastscopeError(f"timm's hub has no weights of {name}: choose weights: none.")
    return KnownWeights(
        weights_name(vars(config)),
        config.hf_hub_id,
        config.license or f"see the model card at {page_of(config.hf_hub_id)}",
        int(config.input_size[-1]),
    )


def needed_weights() -> dict[KnownWeights, list[str]]:
    """Return the weights that packaged recipes start from, each with the names of its recipes."""
    needed: dict[KnownWeights, list[str]] = {}
    for name in recipe_names():
        model = load_recipe(name).model
        if model.weights == "imagenet":
            needed.setdefault(known_weights(model.backbone), []).append(name)
    return needed


def weights_name(config: Mapping[str, Any]) -> str:
    """Return timm's full name of a network's weights, such as ``vgg16.tv_in1k``."""
    tag = config.get("tag")
    return f"{config['architecture']}.{tag}" if tag else str(config["architecture"])


def weights_file(config: Mapping[str, Any], backbone: str, weights_dir: Path | None) -> Path:
    """Return the file with the ImageNet weights of a timm network.

    If ``weights_dir`` is given, it is the only folder to look in; otherwise the hub and its cache.

    Raises:
        BlastscopeError: if the file is not there; it names it.
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
    repository = config["hf_hub_id"]
    try:
        try:
            return Path(hf_hub_download(repository, HUB_FILE, local_files_only=True))
        except LocalEntryNotFoundError:
            # Without a network this fails at once; the download would try for half a minute.
            get_hf_file_metadata(hf_hub_url(repository, HUB_FILE))
            return Path(hf_hub_download(repository, HUB_FILE))
    except Exception as error:  # the hub's client has some twenty errors, most not its own
        raise BlastscopeError(
            f"timm's hub gave no weights for {backbone} ({type(error).__name__}): put "
            f"{name}.safetensors into a folder and give --weights-dir, or choose weights: none."
        ) from error


def weights_at_hand(config: Mapping[str, Any], weights_dir: Path | None) -> bool:
    """Return whether :func:`weights_file` would find a network's weights; nothing is downloaded."""
    if weights_dir is not None:
        return (weights_dir / f"{weights_name(config)}.safetensors").is_file()
    repository = config.get("hf_hub_id")
    if not repository:  # timm has the network but no weights for it
        return False
    try:
        if not isinstance(try_to_load_from_cache(repository, HUB_FILE), str):
            get_hf_file_metadata(hf_hub_url(repository, HUB_FILE))
    except Exception:  # as above
        return False
    return True


def load_weights(net: nn.Module, path: Path, unused: Sequence[str]) -> None:
    """Fill a network without its classifier from a safetensors file; half precision becomes single.

    The file must hold every tensor of ``net``, in its shape. It may also hold those of ``unused``:
    the children of the whole network that ``net`` lacks, above all its classifier.

    Raises:
        BlastscopeError: if the file does not fit the network, which is then unchanged.
    """
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BlastscopeError(f"{path} cannot be read as safetensors ({error}).") from error
    wanted = net.state_dict()
    for key, tensor in wanted.items():
        _check(path, key, found.get(key), tensor)
    extra = [key for key in found if key not in wanted and key.split(".")[0] not in unused]
    if extra:
        raise BlastscopeError(
            f"{path} holds {extra[0]}, which this network does not have: give its own weights."
        )
    net.load_state_dict({key: found[key].to(wanted[key].dtype) for key in wanted})


def _check(path: Path, key: str, found: Tensor | None, wanted: Tensor) -> None:
    if found is None:
        raise BlastscopeError(f"{path} lacks {key}: give this network's weights.")
    if found.shape != wanted.shape:
        raise BlastscopeError(
            f"{path} has {key} in the shape {list(found.shape)}, and the network needs "
            f"{list(wanted.shape)}: give the weights of this network and image size."
        )
    if found.is_floating_point() and not torch.isfinite(found).all():
        raise BlastscopeError(f"{path} contains NaN or infinity in {key}: get it again.")
