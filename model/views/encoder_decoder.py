"""The forward pass of transformers' Marian and Pegasus networks without dropout. The weights stay those of their
modules.

The pass differs from transformers' own in that the decoder's input may be one row for all texts. The first
self-attention and the first queries of the decoder are then computed once. Shapes: B rows, T tokens of a text, S tokens
of the decoder, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model.views.attention import Attention, attend, keys_values

# transformers keeps the encoder's float16 states this far from the largest number.
FLOAT16_MARGIN = 1000


def drops(network: PreTrainedModel) -> bool:
    """Returns whether the network drops features, which only training does."""
    return network.training and network.config.dropout > 0


class EncoderDecoder:
    """Computes states with the weights of a Marian or Pegasus network."""

    def __init__(self, network: PreTrainedModel, *, norm_first: bool) -> None:
        """network: the network without a head; norm_first: whether it normalises before each block and once at the end
        (Pegasus), or after each residual sum (Marian).
        """
        self.encoder: Any = network.get_submodule("encoder")
        self.decoder: Any = network.get_submodule("decoder")
        self.norm_first = norm_first

    def encode(self, tokens: Tensor, text: Tensor) -> Tensor:
        """Computes the last encoder states (B, T, D) of (B, T) tokens. text: which tokens are read, (B, T) bool."""
        states, mask = embed(self.encoder, tokens), text[:, None, None]
        for layer in self.encoder.layers:
            states = self._attention(layer.self_attn_layer_norm, layer.self_attn, states, mask=mask)
            states = within_float16(self._feed_forward(layer, states))
        return self._last_norm(self.encoder, states)

    def decode(self, tokens: Tensor, encoder_states: Tensor, text: Tensor) -> Tensor:
        """Computes the last decoder states (B, S, D) of (B, S) tokens, or of (1, S) tokens that all rows share.

        encoder_states: what the decoder reads, (B, T, D); text: which of it, (B, T) bool.
        """
        states, mask = embed(self.decoder, tokens), text[:, None, None]
        for layer in self.decoder.layers:
            states = self._attention(layer.self_attn_layer_norm, layer.self_attn, states, causal=True)
            states = self._attention(
                layer.encoder_attn_layer_norm, layer.encoder_attn, states, encoder_states, mask=mask
            )
            states = self._feed_forward(layer, states)
        return self._last_norm(self.decoder, states)

    def _attention(
        self,
        norm: nn.Module,
        attention: Attention,
        states: Tensor,
        read: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Applies one block of attention. read: the states that are read; None: `states` themselves."""

        def attended(queries: Tensor) -> Tensor:
            source = keys_values(attention, queries if read is None else read)
            return attend(attention, queries, source, mask=mask, causal=causal)

        return self._residual(norm, states, attended)

    def _feed_forward(self, layer: Any, states: Tensor) -> Tensor:
        """Applies the last block of a layer."""
        return self._residual(
            layer.final_layer_norm, states, lambda inputs: layer.fc2(layer.activation_fn(layer.fc1(inputs)))
        )

    def _residual(self, norm: nn.Module, states: Tensor, block: Callable[[Tensor], Tensor]) -> Tensor:
        """Adds the output of `block` to the states, and normalises where the network does."""
        if self.norm_first:
            return states + block(norm(states))
        normalised: Tensor = norm(states + block(states))
        return normalised

    def _last_norm(self, stack: Any, states: Tensor) -> Tensor:
        """Applies the norm at the end of Pegasus' encoder or decoder."""
        last: Tensor = stack.layer_norm(states) if self.norm_first else states
        return last


def embed(stack: Any, tokens: Tensor) -> Tensor:
    """Computes the input (B, T, D) of the first layer of an encoder or decoder from (B, T) tokens."""
    embeddings: Tensor = stack.embed_tokens(tokens) * stack.embed_scale
    return embeddings + stack.embed_positions(tokens.shape)


def within_float16(states: Tensor) -> Tensor:
    """Returns the states; those of type float16 are limited as in transformers' encoders."""
    if states.dtype != torch.float16:
        return states
    limit = torch.finfo(states.dtype).max - FLOAT16_MARGIN
    return states.clamp(-limit, limit)
