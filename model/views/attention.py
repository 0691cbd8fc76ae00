"""Attention with the weights of transformers' attention layers, which CLIP, Marian and Pegasus name alike.

Shapes: B rows, Q queries, T tokens, N packed tokens, H heads, D features.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from model.views.packing import Packing


class Attention(Protocol):
    """An attention layer of transformers."""

    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear
    out_proj: nn.Linear
    num_heads: int


class KeysValues(NamedTuple):
    """The keys and the values of the tokens that are read, (B, H, T, D / H) each."""

    keys: Tensor
    values: Tensor


def split_heads(states: Tensor, heads: int) -> Tensor:
    """(B, T, D) -> (B, H, T, D / H)."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


def keys_values(attention: Attention, states: Tensor, packing: Packing | None = None) -> KeysValues:
    """Projects the states that are read to keys and values. states: (B, T, D), or (N, D) of packed tokens."""
    keys, values = attention.k_proj(states), attention.v_proj(states)
    if packing is not None:
        keys, values = packing.pad(keys), packing.pad(values)
    return KeysValues(split_heads(keys, attention.num_heads), split_heads(values, attention.num_heads))


def attend(
    attention: Attention,
    queries: Tensor,
    read: KeysValues,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    packing: Packing | None = None,
) -> Tensor:
    """Computes the output of the layer for (B, Q, D) queries, for (1, Q, D) queries that all rows share (both give
    (B, Q, D)), or for the (N, D) queries of packed tokens (which gives (N, D)).

    mask: which tokens a query reads, bool, of a shape that expands to (B, H, Q, T); causal: each query reads the tokens
    up to its own position.
    """
    query = attention.q_proj(queries)
    if packing is not None:
        query = packing.pad(query)
    query = split_heads(query, attention.num_heads).expand(len(read.keys), -1, -1, -1)
    mixed = F.scaled_dot_product_attention(query, read.keys, read.values, attn_mask=mask, is_causal=causal)
    mixed = mixed.transpose(1, 2).flatten(2)
    return attention.out_proj(mixed if packing is None else packing.pack(mixed))
