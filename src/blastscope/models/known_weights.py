"""Which ImageNet weights there are to be had, and which of them the packaged recipes need.

The list follows from the recipes and from what timm records of each network, so that it cannot
fall behind either. timm records no hash: the hub says it when a file is fetched.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import timm
from huggingface_hub import try_to_load_from_cache

from blastscope.errors import BlastscopeError
from blastscope.models.weights import HUB_FILE, weights_name
from blastscope.recipes.library import load_recipe, recipe_names


@dataclass(frozen=True)
class KnownWeights:
    """Weights that timm's hub has."""

    name: str
    """timm's name of network and training, ``vgg16.tv_in1k``."""
    repository: str
    """Where they are on the hub, ``timm/vgg16.tv_in1k``."""
    licence: str
    """As timm records it for the weights on the hub, or where to read it."""
    size: int
    """The side in pixels of the images that they were trained on."""

    @property
    def file(self) -> str:
        """What the file is called in a folder of weights."""
        return f"{self.name}.safetensors"

    @property
    def page(self) -> str:
        """Their page on the hub, the model card."""
        return page_of(self.repository)

    @property
    def in_cache(self) -> bool:
        """Whether the hub's cache on this machine has them."""
        return isinstance(try_to_load_from_cache(self.repository, HUB_FILE), str)

    def is_in(self, folder: Path) -> bool:
        """Whether a folder has a file of their name."""
        return (folder / self.file).is_file()


def page_of(repository: str) -> str:
    """Return the address of a repository's page on the hub."""
    return f"https://huggingface.co/{repository}"


def known_weights(name: str) -> KnownWeights:
    """Look weights up by timm's name; without a tag it means timm's default.

    Raises:
        BlastscopeError: where timm has no such weights, or none on its hub.
    """
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # a network that timm has, under a tag that it has not
        config = None
    if config is None:
        architecture = name.partition(".")[0]
        near = timm.list_pretrained(f"{architecture}.*") or difflib.get_close_matches(
            architecture, timm.list_models(), n=3
        )
        hint = f"; near it are {', '.join(near[:5])}" if near else ""
        raise BlastscopeError(f"timm has no weights {name}{hint}.")
    if not config.hf_hub_id:
        raise BlastscopeError(f"timm has {name}, but no weights of it on its hub.")
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
