"""The layers of the two towers, and their outputs for a batch. Shapes: B samples, T tokens, D features, L layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from model.analysis.cka import centred_gram
from model.views.towers import Towers, end_positions

Layers = dict[str, nn.Module]


def image_layers(towers: Towers) -> Layers:
    """Patch embeddings, every transformer layer, the projection."""
    return named(towers.vision.embeddings, towers.vision.encoder.layers, towers.visual_projection)


def text_layers(towers: Towers) -> Layers:
    """Token embeddings with positions, every transformer layer, the projection of the end token's row."""
    return named(towers.text.embeddings, towers.text.encoder.layers, towers.text_projection)


def named(embeddings: nn.Module, layers: nn.ModuleList, output: nn.Module) -> Layers:
    """In the order of the way through."""
    return {"embeddings": embeddings, **{f"layer {i + 1}": layer for i, layer in enumerate(layers)}, "output": output}


@contextmanager
def outputs_of(layers: Mapping[str, nn.Module], reduce: Callable[[Tensor], Tensor]) -> Iterator[dict[str, Tensor]]:
    """Within it, every pass through `layers` leaves the reduced output of each in the dictionary; the hooks are gone
    afterwards.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple, output: Tensor | tuple) -> None:
            found[name] = reduce(output[0] if isinstance(output, tuple) else output)

        return hook

    handles = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def image_grams(towers: Towers, images: Tensor) -> list[Tensor]:
    """L centred Gram matrices (B, B) of a batch of pictures, over the features of all patches."""
    layers = image_layers(towers)
    with outputs_of(layers, centred_gram) as found:
        towers.image(images)
    return [found[name] for name in layers]


def text_grams(towers: Towers, tokens: Tensor, end: int) -> list[Tensor]:
    """L centred Gram matrices (B, B) of (B, T) tokens, over the features of all tokens up to the first `end`; those
    after it are as if zero.
    """
    layers, position = text_layers(towers), end_positions(tokens, end)
    text = (torch.arange(tokens.shape[1], device=tokens.device) <= position[:, None])[:, :, None]
    with outputs_of(layers, lambda output: centred_gram(output * text if output.dim() == 3 else output)) as found:
        towers.caption(tokens, position)
    return [found[name] for name in layers]
