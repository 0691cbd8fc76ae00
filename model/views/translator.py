"""The encoder-decoder ("translation") network, from transformers' Marian and Pegasus classes. Both have BART's layers
with sinusoidal positions. Marian normalises after each residual sum, Pegasus before each block and once at the end.
Shapes: B rows, T tokens, N packed tokens of all texts, D features, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    MarianConfig,
    MarianModel,
    MarianMTModel,
    PegasusConfig,
    PegasusForConditionalGeneration,
    PegasusModel,
    PreTrainedConfig,
    PreTrainedModel,
)

from model.views.backbone_sizes import TranslatorSizes
from model.views.encoder_decoder import EncoderDecoder, drops
from model.views.packing import Packing
from model.views.positions import up_to
from model.views.towers import SpecialTokens

# `fan_in` multiplies the standard deviations of weights by these gains: of embeddings, of the values and outputs of
# attention, and of its queries and keys.
EMBEDDING_GAIN, VALUE_GAIN, QUERY_GAIN = 2.5, 2.5, 1.25


@dataclass(frozen=True)
class Networks:
    """The classes of one value of backbone.translator_norm. Each network takes an instance of `config`."""

    config: Callable[..., PreTrainedConfig]
    states: Callable[[Any], PreTrainedModel]
    """The network that returns hidden states."""
    tokens: Callable[[Any], PreTrainedModel]
    """The network that returns logits of the vocabulary."""
    norm_first: bool
    """Whether the networks normalise before each block."""


NETWORKS = {
    "post": Networks(MarianConfig, MarianModel, MarianMTModel, norm_first=False),
    "pre": Networks(PegasusConfig, PegasusModel, PegasusForConditionalGeneration, norm_first=True),
}


def translator_config(sizes: TranslatorSizes, tokens: SpecialTokens) -> PreTrainedConfig:
    """Returns the configuration for transformers' classes. Width and vocabulary are those of the text tower, whose
    transformer reads the output.
    """
    return NETWORKS[sizes.translator_norm].config(
        vocab_size=tokens.vocabulary,
        d_model=sizes.text_width,
        encoder_layers=sizes.translator_layers,
        decoder_layers=sizes.translator_layers,
        encoder_attention_heads=sizes.translator_heads,
        decoder_attention_heads=sizes.translator_heads,
        encoder_ffn_dim=sizes.translator_ffn,
        decoder_ffn_dim=sizes.translator_ffn,
        activation_function=sizes.translator_activation,
        dropout=sizes.translator_dropout,
        max_position_embeddings=sizes.context_length,
        pad_token_id=tokens.pad,
        bos_token_id=tokens.begin,
        eos_token_id=tokens.end,
        forced_eos_token_id=tokens.end,
        decoder_start_token_id=tokens.begin,
        use_cache=False,
        scale_embedding=True,
    )


def make_network(
    network_class: Callable[[Any], PreTrainedModel], sizes: TranslatorSizes, tokens: SpecialTokens
) -> PreTrainedModel:
    """Builds the network with its initial weights. Its positions are not trained."""
    network = network_class(translator_config(sizes, tokens))
    INITS[sizes.translator_init](network)
    freeze_positions(network)
    return network


def marian_init(network: PreTrainedModel) -> None:
    """`marian`: keeps the weights that transformers has drawn, N(0, 0.02²) at every width."""


@torch.no_grad()
def fan_in_init(network: PreTrainedModel) -> None:
    """`fan_in`: sets biases to 0 and draws weights of variance 1 / inputs (LeCun et al. 1998) and embeddings of
    variance 1 / D, with deviations multiplied by the gains above.

    Attention averages over tokens. The average makes the differences between texts small compared with what all
    texts share (positions, begin tokens), and the gains compensate for this. The table shows, for each view, the mean
    cosine of two of 64 different texts of 14 tokens, the largest of seeds 0 to 2:

    ============================  =======  =======  ==========  =========
    norm=pre unless stated        decoded  encoded  translated  caption_1
    ============================  =======  =======  ==========  =========
    tiny                            0.859    0.630       0.760      0.609
    tiny, all gains 1               0.974    0.964       0.945      0.609
    tiny, norm=post                 0.567    0.292       0.867      0.609
    tiny, norm=post, init=marian    1.000    1.000       1.000      0.609
    vit_b_32                        0.718    0.408       0.840      0.798
    ============================  =======  =======  ==========  =========
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and not name.endswith("lm_head"):
            nn.init.normal_(module.weight, std=gain_of(name) * module.in_features**-0.5)
            nn.init.zeros_(module.bias)
    embedding = network.get_input_embeddings()
    assert isinstance(embedding, nn.Embedding)
    nn.init.normal_(embedding.weight, std=EMBEDDING_GAIN * embedding.embedding_dim**-0.5)
    embedding.weight[embedding.padding_idx].zero_()


def gain_of(name: str) -> float:
    """Returns the gain of a linear layer. name: the layer's name in transformers' classes."""
    if name.endswith(("v_proj", "out_proj")):
        return VALUE_GAIN
    return QUERY_GAIN if name.endswith(("q_proj", "k_proj")) else 1.0


# Value of backbone.translator_init -> the function that sets the initial weights.
INITS: dict[str, Callable[[PreTrainedModel], None]] = {"fan_in": fan_in_init, "marian": marian_init}


def freeze_positions(network: PreTrainedModel) -> None:
    """Excludes the sinusoidal positions from training. They get no gradient, and several processes would wait for
    one.
    """
    for stack in ("encoder", "decoder"):
        positions = network.base_model.get_submodule(f"{stack}.embed_positions")
        positions.requires_grad_(False)


def base_of(network: PreTrainedModel) -> PreTrainedModel:
    """Returns the network without its head."""
    return cast(PreTrainedModel, network.base_model)


class StateTranslator(nn.Module):
    """Computes encoder states and decoder states of a caption. The decoder reads only begin tokens (the original
    `trainclip_v534DIM`).
    """

    def __init__(self, sizes: TranslatorSizes, tokens: SpecialTokens) -> None:
        super().__init__()
        self.tokens = tokens
        networks = NETWORKS[sizes.translator_norm]
        self.marian = make_network(networks.states, sizes, tokens)
        self.passes = EncoderDecoder(self.marian, norm_first=networks.norm_first)

    def forward(self, tokens: Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
        """Computes the last encoder states (N, D) of the texts in (B, T) tokens, and the last decoder states
        (B, T, D).
        """
        if drops(self.marian):
            start, text = torch.full_like(tokens, self.tokens.begin), up_to(packing.end, tokens.shape[1])
            states = self.marian(input_ids=tokens, attention_mask=text, decoder_input_ids=start)
            encoder_states = states.encoder_last_hidden_state[:, : packing.longest]
            return packing.pack(encoder_states), states.last_hidden_state
        packed = self.passes.encode(tokens[:, : packing.longest], packing)
        # Every row reads the same begin tokens. Their number is part of what the decoder computes.
        return packed, self.passes.decode(torch.full_like(tokens[:1], self.tokens.begin), packed, packing)


class TokenTranslator(nn.Module):
    """Computes vocabulary logits of a translated caption. The decoder reads the caption's own tokens (the original
    `trainclip_v5335DIM`).
    """

    def __init__(self, sizes: TranslatorSizes, tokens: SpecialTokens) -> None:
        super().__init__()
        self.tokens = tokens
        networks = NETWORKS[sizes.translator_norm]
        self.marian = make_network(networks.tokens, sizes, tokens)
        self.passes = EncoderDecoder(base_of(self.marian), norm_first=networks.norm_first)

    def forward(self, tokens: Tensor, packing: Packing) -> Tensor:
        """Computes the logits (N, V) of the texts in (B, T) tokens."""
        if drops(self.marian):
            text = up_to(packing.end, tokens.shape[1])
            logits = self.marian(input_ids=tokens, attention_mask=text, decoder_input_ids=tokens).logits
            return packing.pack(logits[:, : packing.longest])
        tokens = tokens[:, : packing.longest]
        states = self.passes.decode_texts(tokens, self.passes.encode(tokens, packing), packing)
        return self.marian.lm_head(states) + self.marian.final_logits_bias
