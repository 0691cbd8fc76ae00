"""The forward pass of transformers' Marian and Pegasus networks without dropout. The weights stay those of their
modules.

The pass differs from transformers' own in two ways. Padding is left out. The decoder's input may be one row for all
texts, and the first self-attention and the first queries of the decoder are then computed once. Shapes: B texts, L
tokens of the longest text, N packed tokens of all texts, S tokens of the decoder, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model.views.attention import Attention, attend, keys_values
from model.views.packing import Packing

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

    def encode(self, tokens: Tensor, packing: Packing) -> Tensor:
        """Computes the last encoder states (N, D) of the texts in (B, L) tokens."""
        states, mask = packing.pack(embed(self.encoder, tokens)), packing.text[:, None, None]
        for layer in self.encoder.layers:

            def attended(queries: Tensor, attention: Attention = layer.self_attn) -> Tensor:
                read = keys_values(attention, queries, packing)
                return attend(attention, queries, read, mask=mask, packing=packing)

            states = self._residual(layer.self_attn_layer_norm, states, attended)
            states = within_float16(self._feed_forward(layer, states))
        return self._last_norm(self.encoder, states)

    def decode(self, tokens: Tensor, encoder_states: Tensor, packing: Packing) -> Tensor:
        """Computes the last decoder states (B, S, D) of (1, S) tokens that all rows share.

        encoder_states: what the decoder reads, (N, D).
        """
        return self._decode(embed(self.decoder, tokens), encoder_states, packing, None)

    def decode_texts(self, tokens: Tensor, encoder_states: Tensor, packing: Packing) -> Tensor:
        """Computes the last decoder states (N, D) of the same texts that the encoder has read, in (B, L) tokens."""
        return self._decode(packing.pack(embed(self.decoder, tokens)), encoder_states, packing, packing)

    def _decode(self, states: Tensor, encoder_states: Tensor, packing: Packing, own: Packing | None) -> Tensor:
        """Applies the decoder to its embedded tokens. own: how they are packed; None: they are not."""
        mask = packing.text[:, None, None]
        for layer in self.decoder.layers:

            def attended(queries: Tensor, attention: Attention = layer.self_attn) -> Tensor:
                return attend(attention, queries, keys_values(attention, queries, own), causal=True, packing=own)

            def crossed(queries: Tensor, attention: Attention = layer.encoder_attn) -> Tensor:
                read = keys_values(attention, encoder_states, packing)
                return attend(attention, queries, read, mask=mask, packing=own)

            states = self._residual(layer.self_attn_layer_norm, states, attended)
            states = self._residual(layer.encoder_attn_layer_norm, states, crossed)
            states = self._feed_forward(layer, states)
        return self._last_norm(self.decoder, states)

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
