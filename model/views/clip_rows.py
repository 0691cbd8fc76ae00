"""One row of the output of CLIP's transformer. Its last layer is computed for that row alone, because no view reads
another row; all rows give the keys and values. The weights are those of transformers' modules.

Shapes: B samples, T tokens, N packed tokens, D features.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import CLIPEncoder, CLIPEncoderLayer

from model.views.attention import KeysValues, attend, keys_values
from model.views.packing import Packing
from model.views.positions import at_rows, up_to


def drops(encoder: CLIPEncoder) -> bool:
    """Returns whether the transformer drops attention weights, which only training does. The random numbers depend on
    the shape, so all rows of the whole context must then be computed.
    """
    return encoder.training and encoder.config.attention_dropout > 0


def before_last(
    encoder: CLIPEncoder, states: Tensor, *, causal: bool, packing: Packing | None = None
) -> tuple[Tensor, CLIPEncoderLayer]:
    """Applies all layers but the last to (B, T, D) states, or to the (N, D) states of packed tokens. Returns the states
    and the last layer.
    """
    *layers, last = cast("list[CLIPEncoderLayer]", list(encoder.layers))
    for layer in layers:
        normed = layer.layer_norm1(states)
        read = keys_values(layer.self_attn, normed, packing)
        states = finish(layer, states, attend(layer.self_attn, normed, read, causal=causal, packing=packing))
    return states, last


def first_row(encoder: CLIPEncoder, states: Tensor) -> Tensor:
    """Computes row 0 of the output for (B, T, D) states, of which each token reads all: (B, D)."""
    states, layer = before_last(encoder, states, causal=False)
    return last_row(layer, states[:, 0], keys_values(layer.self_attn, layer.layer_norm1(states)))


def end_row(encoder: CLIPEncoder, states: Tensor, packing: Packing) -> Tensor:
    """Computes the row of the end token of the output for the (N, D) states of packed tokens, of which each reads those
    of its text up to itself: (B, D).
    """
    states, layer = before_last(encoder, states, causal=True, packing=packing)
    read = keys_values(layer.self_attn, layer.layer_norm1(states), packing)
    return last_row(layer, packing.at_end(states), read, packing.text)


def last_row(layer: CLIPEncoderLayer, rows: Tensor, read: KeysValues, readable: Tensor | None = None) -> Tensor:
    """Computes the output (B, D) of the last layer for one row (B, D) of its input for each sample. readable: which
    tokens the row reads, (B, T) bool; None: all.
    """
    mask = None if readable is None else readable[:, None, None]
    return finish(layer, rows, attend(layer.self_attn, layer.layer_norm1(rows)[:, None], read, mask=mask)[:, 0])


def chosen_causal_row(encoder: CLIPEncoder, norm: nn.Module, states: Tensor, weights: Tensor) -> Tensor:
    """Computes the normalised row that (B, T) weights choose from the output for (B, T, D) states, of which each token
    reads those up to itself: (B, D).

    The weights are one-hot, and have the gradient of a soft choice. Only the chosen row passes a gradient to the
    states. The gradient with respect to the weights needs the values of all rows, which need no gradient themselves.
    """
    states, layer = before_last(encoder, states, causal=True)
    normed, positions = layer.layer_norm1(states), weights.argmax(dim=1)
    read = keys_values(layer.self_attn, normed)
    chosen = norm(last_row(layer, at_rows(states, positions), read, up_to(positions, states.shape[1])))
    if not weights.requires_grad:
        return chosen
    with torch.no_grad():
        every = norm(finish(layer, states, attend(layer.self_attn, normed, read, causal=True)))
    without_value = weights - weights.detach()  # 0, with the gradient of the weights
    return chosen + torch.einsum("btd,bt->bd", every, without_value.to(every.dtype))


def finish(layer: CLIPEncoderLayer, states: Tensor, attended: Tensor) -> Tensor:
    """Returns the output of the layer for its input `states` and the output of its attention, of one shape (..., D)."""
    hidden = states + attended
    return hidden + layer.mlp(layer.layer_norm2(hidden))
