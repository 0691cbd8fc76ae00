"""The layers of the two towers, and their outputs for a batch. Shapes: B samples, T tokens, L layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from model.analysis.cka import centred_gram
from model.views.positions import end_positions, up_to
from model.views.towers import Towers

Layers = dict[str, nn.Module]


def image_layers(towers: Towers) -> Layers:
    """Returns name -> module: the patch embeddings, every transformer layer, the projection."""
    return by_name(towers.vision.embeddings, towers.vision.encoder.layers, towers.visual_projection)


def text_layers(towers: Towers) -> Layers:
    """Returns name -> module: the token embeddings with positions, every transformer layer, the projection of the end
    token's row.
    """
    return by_name(towers.text.embeddings, towers.text.encoder.layers, towers.text_projection)


def by_name(embeddings: nn.Module, layers: Iterable[nn.Module], output: nn.Module) -> Layers:
    """Returns name -> module, in the order of the forward pass."""
    return {"embeddings": embeddings, **{f"layer {i + 1}": layer for i, layer in enumerate(layers)}, "output": output}


@contextmanager
def outputs_of(layers: Mapping[str, nn.Module], reduce: Callable[[Tensor], Tensor]) -> Iterator[dict[str, Tensor]]:
    """Context manager that yields a dictionary. Every forward pass inside the block stores the reduced output of each
    layer in the dictionary. The end of the block removes the hooks.
    """
    outputs: dict[str, Tensor] = {}

    def store_as(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor | tuple[Tensor, ...]) -> None:
            outputs[name] = reduce(output[0] if isinstance(output, tuple) else output)

        return hook

    handles = [layer.register_forward_hook(store_as(name)) for name, layer in layers.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def image_grams(towers: Towers, images: Tensor) -> list[Tensor]:
    """Returns the L centred Gram matrices (B, B) of a batch of images, over the features of all patches."""
    layers = image_layers(towers)
    with outputs_of(layers, centred_gram) as outputs:
        towers.image(images)
        towers.vision(pixel_values=images)  # `image` computes one row of the last layer; this computes all
    return [outputs[name] for name in layers]


def text_grams(towers: Towers, tokens: Tensor, end: int) -> list[Tensor]:
    """Returns the L centred Gram matrices (B, B) of (B, T) tokens, over the features of all tokens up to the first
    `end` token. The features after that token count as zero.
    """
    layers, position = text_layers(towers), end_positions(tokens, end)
    text = up_to(position, tokens.shape[1])[:, :, None]

    def gram(output: Tensor) -> Tensor:
        return centred_gram(output * text[:, : output.shape[1]] if output.dim() == 3 else output)

    with outputs_of(layers, gram) as outputs:
        towers.caption(tokens, position)
        towers.read(towers.text.embeddings.token_embedding(tokens))  # all rows, as above
    return [outputs[name] for name in layers]
