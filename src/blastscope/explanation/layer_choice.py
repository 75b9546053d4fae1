"""Choose the layers whose feature maps are shown: the first ones, or those asked for by name.

They are chosen once per model, from a pass of a blank image, so that every architecture that a
recipe can name is read in the same way: whole, cut, or of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from timm.layers import BlurPool2d  # type: ignore[attr-defined]
from torch import Tensor, nn

from blastscope.errors import BlastscopeError
from blastscope.explanation.activations import Layer, as_map, listening, run_through
from blastscope.explanation.models import ExplainedModel
from blastscope.explanation.result import Note, NoteCode
from blastscope.models.layer_names import keras_layers, layer_to_cut_at

POOLS = (nn.MaxPool2d, nn.AvgPool2d, BlurPool2d)


@dataclass(frozen=True)
class ChosenLayers:
    """The layers of one model to be shown, and a note on each that cannot be."""

    layers: tuple[Layer, ...]
    notes: tuple[Note, ...]


def choose_layers(
    models: Sequence[ExplainedModel], asked: Sequence[str] | None = None
) -> tuple[ChosenLayers, ...]:
    """Choose the layers to be shown of each model.

    ``asked`` are names of layers, timm's or Keras's, each of which at least one model has. None
    means the first convolution, with the normalization and the activation that follow it, and the
    first pooling that leaves a map.

    Raises:
        BlastscopeError: if no model has a layer that is asked for; it lists similar names.
    """
    walks = [_walk(model) for model in models]
    if asked is None:
        return tuple(_first_layers(walk) for walk in walks)
    found = [[_find(walk, name) for name in dict.fromkeys(asked)] for walk in walks]
    for name, *outcomes in zip(dict.fromkeys(asked), *found, strict=True):
        refusals = [str(outcome) for outcome in outcomes if isinstance(outcome, BlastscopeError)]
        if len(refusals) == len(models):
            every = "; ".join(dict.fromkeys(text.rstrip(".") for text in refusals))
            where = "" if len(models) == 1 else f"No model has a layer {name}: "
            raise BlastscopeError(f"{where}{every}.")
    return tuple(_sorted_out(*pair) for pair in zip(models, found, strict=True))


@dataclass(frozen=True)
class _Walk:
    """The pass of a blank image through a network."""

    model: ExplainedModel  # the network
    # The shape of each called module's first output, in the order in which they end: of the map if
    # it is one, otherwise as text.
    shapes: dict[str, tuple[int, int, int] | str]
    # The first convolution, and what only normalizes and activates its output.
    chain: tuple[str, ...]


def _walk(model: ExplainedModel) -> _Walk:
    backbone = model.classifier.backbone
    modules = dict(backbone.net.named_modules())
    shapes: dict[str, tuple[int, int, int] | str] = {}
    chain: list[str] = []
    last: Tensor | None = None

    def keep(name: str, given: object, outcome: object) -> None:
        nonlocal last
        laid = as_map(outcome, backbone, modules[name], 1)
        shapes.setdefault(name, _shape_in_words(outcome) if laid is None else _shape_of(laid))
        begins = last is None and isinstance(modules[name], nn.Conv2d)
        follows = _follows(modules[name], given, last, outcome)
        if isinstance(outcome, Tensor) and (begins or follows):
            last = outcome
            chain.append(name)

    called = {name: module for name, module in modules.items() if name}
    with listening(called, keep):
        run_through(model, torch.zeros(1, 3, model.size, model.size, device=model.device))
    return _Walk(model, shapes, tuple(chain))


def _follows(module: nn.Module, given: object, last: Tensor | None, outcome: object) -> bool:
    """Whether a module takes the last output and mixes neither its positions nor its channels."""
    if last is None or given is not last or getattr(outcome, "shape", None) != last.shape:
        return False
    pools = any(isinstance(part, POOLS) for part in module.modules())
    weighs = any(weight.ndim > 1 for weight in module.parameters())
    return not (pools or weighs or isinstance(module, nn.Identity))


def _shape_of(laid: Tensor) -> tuple[int, int, int]:
    _, channels, height, width = laid.shape
    return channels, height, width


def _shape_in_words(outcome: object) -> str:
    if isinstance(outcome, Tensor):
        return " × ".join(str(n) for n in outcome.shape[1:])
    return "several tensors"


def _first_layers(walk: _Walk) -> ChosenLayers:
    model = walk.model.name
    found: list[Layer] = []
    notes: list[Note] = []
    modules = dict(walk.model.classifier.backbone.net.named_modules())
    shape = walk.shapes[walk.chain[-1]] if walk.chain else ""
    if isinstance(shape, str):
        notes.append(Note(NoteCode.NO_CONVOLUTION, model))
    else:
        first, last = walk.chain[0], walk.chain[-1]
        title = first if first == last else f"{first} to {last}"
        found.append(Layer(last, f"first convolution ({title})", shape))
    pools = [name for name in walk.shapes if isinstance(modules[name], POOLS)]
    for name in pools:
        shape = walk.shapes[name]
        if not isinstance(shape, str):
            found.append(Layer(name, f"first pooling ({name})", shape))
            return ChosenLayers(tuple(found), tuple(notes))
    notes.append(Note(NoteCode.POOLS_TO_ONE_FIELD if pools else NoteCode.NO_POOLING, model))
    return ChosenLayers(tuple(found), tuple(notes))


def _find(walk: _Walk, name: str) -> Layer | Note | BlastscopeError:
    """Return the layer that a name means, a note if it has no map, or the error."""
    backbone = walk.model.classifier.backbone
    span = keras_layers(backbone.name.partition(".")[0]).get(name)
    # If timm has a normalization and its activation in one, the output is the activation's.
    asked = span.cut_at if span is not None and span.cut_at is not None else name
    try:
        own = layer_to_cut_at(asked, backbone.name, backbone.layers)
    except BlastscopeError as error:
        return error
    inside = [other for other in walk.shapes if other.startswith(f"{own}.")]
    if own not in walk.shapes and inside:  # a cut network is a graph, which has no blocks
        own = inside[-1]
    shape = walk.shapes.get(own, "nothing")
    if isinstance(shape, str):
        return Note(NoteCode.LAYER_WITHOUT_MAP, walk.model.name, (name, shape))
    return Layer(own, name if own == name else f"{name} ({own})", shape)


def _sorted_out(
    model: ExplainedModel, outcomes: Sequence[Layer | Note | BlastscopeError]
) -> ChosenLayers:
    """Separate the layers, each once however it was named, from the notes."""
    layers = {layer.name: layer for layer in outcomes if isinstance(layer, Layer)}
    absent = NoteCode.LAYER_ABSENT
    notes = (
        one if isinstance(one, Note) else Note(absent, model.name, (str(one),))
        for one in outcomes
        if not isinstance(one, Layer)
    )
    return ChosenLayers(tuple(layers.values()), tuple(notes))
