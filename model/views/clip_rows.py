"""One row of the output of CLIP's transformer. Its last layer is computed for that row alone, because no view reads
another row; all rows give the keys and values. The weights are those of transformers' modules.

Shapes: B samples, T tokens, D features.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import CLIPEncoder, CLIPEncoderLayer

from model.views.attention import attend, keys_values
from model.views.positions import at_rows, up_to


def drops(encoder: CLIPEncoder) -> bool:
    """Returns whether the transformer drops attention weights, which only training does. The random numbers depend on
    the shape, so all rows of the whole context must then be computed.
    """
    return encoder.training and encoder.config.attention_dropout > 0


def before_last(encoder: CLIPEncoder, states: Tensor, *, causal: bool) -> Tensor:
    """Applies all layers but the last to (B, T, D) states: (B, T, D)."""
    for layer in layers_of(encoder)[:-1]:
        states = layer(states, None, is_causal=causal)
    return states


def layers_of(encoder: CLIPEncoder) -> list[CLIPEncoderLayer]:
    """Returns the layers with their type, which a ModuleList does not keep."""
    return cast("list[CLIPEncoderLayer]", list(encoder.layers))


def first_row(encoder: CLIPEncoder, states: Tensor) -> Tensor:
    """Computes row 0 of the output for (B, T, D) states, of which each token reads all: (B, D)."""
    states, layer = before_last(encoder, states, causal=False), layers_of(encoder)[-1]
    rows, read = states[:, 0], keys_values(layer.self_attn, layer.layer_norm1(states))
    return finish(layer, rows, attend(layer.self_attn, layer.layer_norm1(rows)[:, None], read)[:, 0])


def causal_row(encoder: CLIPEncoder, states: Tensor, positions: Tensor) -> Tensor:
    """Computes the row at positions[b] of the output for (B, T, D) states, of which each token reads those up to
    itself: (B, D).
    """
    states, layer = before_last(encoder, states, causal=True), layers_of(encoder)[-1]
    rows, read = at_rows(states, positions), keys_values(layer.self_attn, layer.layer_norm1(states))
    mask = up_to(positions, states.shape[1])[:, None, None]
    return finish(layer, rows, attend(layer.self_attn, layer.layer_norm1(rows)[:, None], read, mask=mask)[:, 0])


def chosen_causal_row(encoder: CLIPEncoder, norm: nn.Module, states: Tensor, weights: Tensor) -> Tensor:
    """Computes the normalised row that (B, T) weights choose from the output for (B, T, D) states, of which each token
    reads those up to itself: (B, D).

    The weights are one-hot, and have the gradient of a soft choice. Only the chosen row passes a gradient to the
    states. The gradient with respect to the weights needs the values of all rows, which need no gradient themselves.
    """
    states, layer = before_last(encoder, states, causal=True), layers_of(encoder)[-1]
    attention, normed, positions = layer.self_attn, layer.layer_norm1(states), weights.argmax(dim=1)
    read, mask = keys_values(attention, normed), up_to(positions, states.shape[1])[:, None, None]
    rows = at_rows(states, positions)
    queries = layer.layer_norm1(rows)[:, None]
    chosen = norm(finish(layer, rows, attend(attention, queries, read, mask=mask)[:, 0]))
    if not weights.requires_grad:
        return chosen
    with torch.no_grad():
        every = norm(finish(layer, states, attend(attention, normed, read, causal=True)))
    without_value = weights - weights.detach()  # 0, with the gradient of the weights
    return chosen + torch.einsum("btd,bt->bd", every, without_value.to(every.dtype))


def finish(layer: CLIPEncoderLayer, states: Tensor, attended: Tensor) -> Tensor:
    """Returns the output of the layer for its input `states` and the output of its attention, of one shape (..., D)."""
    hidden = states + attended
    return hidden + layer.mlp(layer.layer_norm2(hidden))
