"""ImageNet weights by timm's names: found in a folder or in timm's hub, and loaded.

Which weights the packaged recipes need follows from the recipes and from what timm records of each
network. Files are safetensors; nothing is unpickled.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
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
from blastscope.io.remote import refuse_remote
from blastscope.models import caffe_resnet
from blastscope.models.layer_names import keras_layers
from blastscope.recipes.library import load_recipe, name_fits, recipe_names

HUB_FILE = "model.safetensors"
"""The name of the weights in each repository of timm's hub."""


_COUNTER = ".num_batches_tracked"
PARTS = {caffe_resnet.NAME: f"{caffe_resnet.NAME}_{caffe_resnet.LAST_OF_PART}"}
"""By the name of weights, that of a file with the first part of them, for cut networks."""


@dataclass(frozen=True)
class KnownWeights:
    """Weights of timm's hub, or of a file that must be brought by hand."""

    name: str  # timm's name of network and training, ``vgg16.tv_in1k``
    repository: str  # on the hub, ``timm/vgg16.tv_in1k``; empty if the hub does not have them
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
        if not self.repository:
            return False
        return isinstance(try_to_load_from_cache(self.repository, HUB_FILE), str)

    def is_in(self, folder: Path) -> bool:
        """Return whether a folder has a file of their name, or of the first part of them."""
        part = PARTS.get(self.name)
        return (folder / self.file).is_file() or (
            part is not None and (folder / f"{part}.safetensors").is_file()
        )


def page_of(repository: str) -> str:
    """Return the address of a repository's page on the hub."""
    return f"https://huggingface.co/{repository}"


def known_weights(name: str) -> KnownWeights:
    """Look weights up by timm's name; without a tag it means timm's default.

    Raises:
        BlastscopeError: if timm has no such weights, or none on its hub.
    """
    if name == caffe_resnet.NAME:
        size = int(caffe_resnet.CONFIG["input_size"][-1])
        return KnownWeights(name, "", str(caffe_resnet.CONFIG["license"]), size)
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
    hub = config.hf_hub_id or ""
    if not hub and not config.url:
        raise BlastscopeError(f"timm's hub has no weights of {name}: choose weights: none.")
    return KnownWeights(
        weights_name(vars(config)),
        hub,
        config.license or (f"see the model card at {page_of(hub)}" if hub else "unknown"),
        int(config.input_size[-1]),
    )


def needed_weights(only: str | None = None) -> dict[KnownWeights, list[str]]:
    """Return the weights that packaged recipes start from, each with the names of its recipes.

    Args:
        only: a pattern of recipe names, such as ``paper/*``; without it all count.

    Raises:
        BlastscopeError: if the pattern fits no recipe.
    """
    names = [name for name in recipe_names() if only is None or name_fits(name, only)]
    if not names:
        raise BlastscopeError(f"No recipe matches {only}: list them with `blastscope recipes`.")
    needed: dict[KnownWeights, list[str]] = {}
    for name in names:
        model = load_recipe(name).model
        if model.weights == "imagenet":
            needed.setdefault(known_weights(model.backbone), []).append(name)
    return needed


def weights_name(config: Mapping[str, Any]) -> str:
    """Return timm's full name of a network's weights, such as ``vgg16.tv_in1k``."""
    tag = config.get("tag")
    return f"{config['architecture']}.{tag}" if tag else str(config["architecture"])


def network_config(backbone: str) -> dict[str, Any] | None:
    """Return what is recorded of a backbone's weights; None if timm has no such network or tag."""
    if backbone == caffe_resnet.NAME:
        return caffe_resnet.CONFIG
    try:
        config = timm.get_pretrained_cfg(backbone)
    except RuntimeError:  # no such tag of the network
        return None
    return None if config is None else config.to_dict()  # type: ignore[no-untyped-call]


def weights_file(
    config: Mapping[str, Any], backbone: str, weights_dir: Path | None, cut: str | None = None
) -> Path:
    """Return the file with the ImageNet weights of a timm network.

    If ``weights_dir`` is given, it is the only folder to look in; otherwise the hub and its cache.
    A network that is ``cut`` early enough may take a file that has the first part alone.

    Raises:
        BlastscopeError: if the file is not there; it names it.
    """
    name = weights_name(config)
    if weights_dir is not None:
        refuse_remote(weights_dir)
        path = _in_folder(config, weights_dir, cut)
        if path is None:
            raise BlastscopeError(
                f"{weights_dir} has {_what_is_there(name, backbone, weights_dir)}: put "
                f"{name}.safetensors into it, or choose weights: none."
            )
        return path
    repository = config["hf_hub_id"]
    if not repository:
        raise BlastscopeError(
            f"timm's hub has no weights {name}: put {PARTS.get(name, name)}.safetensors into a "
            "folder and give --weights-dir, or choose weights: none."
        )
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


def _in_folder(config: Mapping[str, Any], folder: Path, cut: str | None) -> Path | None:
    """Return the file of a network's weights, or else of their first part if it is enough."""
    name = weights_name(config)
    names = [name]
    if name in PARTS:
        span = keras_layers(str(config["architecture"])).get(cut or "")
        if caffe_resnet.lies_in_part(span.last if span else cut):
            names.append(PARTS[name])
    paths = (folder / f"{one}.safetensors" for one in names)
    return next((path for path in paths if path.is_file()), None)


def _what_is_there(name: str, backbone: str, folder: Path) -> str:
    part = PARTS.get(name)
    if part is None or not (folder / f"{part}.safetensors").is_file():
        return f"no weights for {backbone}"
    return (
        f"the weights of {backbone} up to conv4 only, and this recipe uses layers after it (set "
        "model.cut to conv4 or earlier to do without)"
    )


def weights_at_hand(
    config: Mapping[str, Any], weights_dir: Path | None, cut: str | None = None
) -> bool:
    """Return whether :func:`weights_file` would find a network's weights; nothing is downloaded."""
    if weights_dir is not None:
        return _in_folder(config, weights_dir, cut) is not None
    repository = config.get("hf_hub_id")
    if not repository:  # timm has the network but no weights for it
        return False
    try:
        if not isinstance(try_to_load_from_cache(repository, HUB_FILE), str):
            get_hf_file_metadata(hf_hub_url(repository, HUB_FILE))
    except Exception:  # as above
        return False
    return True


def load_weights(net: nn.Module, path: Path, unused: Collection[str]) -> None:
    """Fill a network without its classifier from a safetensors file; half precision becomes single.

    The file must hold every tensor of ``net``, in its shape, but for the counters of BatchNorm,
    which nothing depends on. It may also hold those of ``unused``: the children of the whole
    network that ``net`` lacks, above all its classifier.

    Raises:
        BlastscopeError: if the file does not fit the network, which is then unchanged.
    """
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BlastscopeError(f"{path} cannot be read as safetensors ({error}).") from error
    own = net.state_dict()
    wanted = {key: own[key] for key in own if key in found or not key.endswith(_COUNTER)}
    for key, tensor in wanted.items():
        _check(path, key, found.get(key), tensor)
    extra = [key for key in found if key not in own and key.split(".")[0] not in unused]
    if extra:
        raise BlastscopeError(
            f"{path} holds {extra[0]}, which this network does not have: give its own weights."
        )
    net.load_state_dict(own | {key: found[key].to(wanted[key].dtype) for key in wanted})


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
