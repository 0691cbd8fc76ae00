"""The encoder-decoder ("translation") network, from transformers' Marian and Pegasus classes: both are BART's layers
with sinusoidal positions, Marian normalises after each sum, Pegasus before each block and once at the end. Shapes: B
rows, T tokens, D features, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

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

from model.views.towers import SpecialTokens, end_positions

# What `fan_in` multiplies the deviation of weights by: of embeddings, of the values and outputs of attention, of its
# queries and keys.
EMBEDDING_GAIN, VALUE_GAIN, QUERY_GAIN = 2.5, 2.5, 1.25


@dataclass(frozen=True)
class Networks:
    """The classes of one value of backbone.translator_norm."""

    config: type[PreTrainedConfig]
    states: type[PreTrainedModel]
    """Gives hidden states."""
    tokens: type[PreTrainedModel]
    """Gives logits of the vocabulary."""


NETWORKS = {
    "post": Networks(MarianConfig, MarianModel, MarianMTModel),
    "pre": Networks(PegasusConfig, PegasusModel, PegasusForConditionalGeneration),
}


def translator_config(sizes, tokens: SpecialTokens) -> PreTrainedConfig:
    """`sizes` has the fields of BackboneConfig; width and vocabulary are the text tower's, whose transformer reads the
    output.
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


def make_network(kind: str, sizes, tokens: SpecialTokens) -> PreTrainedModel:
    """`kind`: `states` or `tokens`, a field of Networks. With its first weights, and with its constants frozen."""
    network = getattr(NETWORKS[sizes.translator_norm], kind)(translator_config(sizes, tokens))
    if sizes.translator_init == "fan_in":  # `marian` is what transformers has drawn: N(0, 0.02²) at every width
        fan_in_init(network)
    freeze_positions(network.base_model)
    return network


@torch.no_grad()
def fan_in_init(network: PreTrainedModel) -> None:
    """`fan_in`: biases 0, weights of variance 1 / inputs (LeCun et al. 1998), embeddings of variance 1 / D, and on that
    the gains above.

    Attention averages over tokens, which makes what differs between texts small against what they share (positions,
    begin tokens); the gains make up for it. Largest mean cosine of two of 64 different texts of 14 tokens, seeds 0 to
    2, by view:

    ============================  =======  =======  ==========  =========
    norm=pre, else as said        decoded  encoded  translated  caption_1
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
    nn.init.normal_(embedding.weight, std=EMBEDDING_GAIN * embedding.embedding_dim**-0.5)
    embedding.weight[embedding.padding_idx].zero_()


def gain_of(name: str) -> float:
    """Of a linear layer, by its name in transformers' classes."""
    if name.endswith(("v_proj", "out_proj")):
        return VALUE_GAIN
    return QUERY_GAIN if name.endswith(("q_proj", "k_proj")) else 1.0


def freeze_positions(network: PreTrainedModel) -> None:
    """The sinusoidal positions are constants: without a gradient they would stall several processes that wait for
    one.
    """
    for part in (network.encoder, network.decoder):
        part.embed_positions.weight.requires_grad_(False)


def is_text(tokens: Tensor, end: int) -> Tensor:
    """(B, T) tokens -> (B, T) bool, true up to the first end token: some tokenisers pad with it."""
    return torch.arange(tokens.shape[1], device=tokens.device) <= end_positions(tokens, end)[:, None]


class StateTranslator(nn.Module):
    """Encoder states and, from start tokens alone, decoder states of a caption (the original `trainclip_v534DIM`)."""

    def __init__(self, sizes, tokens: SpecialTokens) -> None:
        super().__init__()
        self.tokens = tokens
        self.marian = make_network("states", sizes, tokens)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) tokens -> (B, T, D) last encoder states and (B, T, D) last decoder states."""
        start = torch.full_like(tokens, self.tokens.begin)
        states = self.marian(input_ids=tokens, attention_mask=is_text(tokens, self.tokens.end), decoder_input_ids=start)
        return states.encoder_last_hidden_state, states.last_hidden_state


class TokenTranslator(nn.Module):
    """Vocabulary logits of a translated caption; the decoder reads the caption's own tokens (the original
    `trainclip_v5335DIM`).
    """

    def __init__(self, sizes, tokens: SpecialTokens) -> None:
        super().__init__()
        self.tokens = tokens
        self.marian = make_network("tokens", sizes, tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) tokens -> (B, T, V) logits."""
        return self.marian(
            input_ids=tokens, attention_mask=is_text(tokens, self.tokens.end), decoder_input_ids=tokens
        ).logits
