"""Attention with the weights of transformers' attention layers, which CLIP, Marian and Pegasus name alike.

Shapes: B rows, Q queries, T tokens, H heads, D features.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor, nn
from torch.nn import functional as F


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


def keys_values(attention: Attention, states: Tensor) -> KeysValues:
    """Projects (B, T, D) states to keys and values."""
    heads = attention.num_heads
    return KeysValues(split_heads(attention.k_proj(states), heads), split_heads(attention.v_proj(states), heads))


def attend(
    attention: Attention, queries: Tensor, read: KeysValues, *, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Computes the output of the layer for (B, Q, D) queries, or for (1, Q, D) queries that all rows share: (B, Q, D).

    mask: which tokens a query reads, bool, of a shape that expands to (B, H, Q, T); causal: each query reads the tokens
    up to its own position.
    """
    query = split_heads(attention.q_proj(queries), attention.num_heads).expand(len(read.keys), -1, -1, -1)
    mixed = F.scaled_dot_product_attention(query, read.keys, read.values, attn_mask=mask, is_causal=causal)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))
