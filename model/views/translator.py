"""The encoder-decoder ("translation") network, from transformers' Marian classes. Shapes: B rows, T tokens, D features, V vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import MarianConfig, MarianModel, MarianMTModel

from model.views.towers import SpecialTokens, end_positions


def marian_config(sizes, tokens: SpecialTokens) -> MarianConfig:
    """`sizes` has the fields of BackboneConfig; width and vocabulary are the text tower's, whose transformer reads the output."""
    return MarianConfig(
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


def freeze_positions(marian: MarianModel) -> None:
    """The sinusoidal positions are constants: without a gradient they would stall several processes that wait for one."""
    for network in (marian.encoder, marian.decoder):
        network.embed_positions.weight.requires_grad_(False)


def is_text(tokens: Tensor, end: int) -> Tensor:
    """(B, T) tokens -> (B, T) bool, true up to the first end token: some tokenisers pad with it."""
    return torch.arange(tokens.shape[1], device=tokens.device) <= end_positions(tokens, end)[:, None]


class StateTranslator(nn.Module):
    """Encoder states and, from start tokens alone, decoder states of a caption (the original `trainclip_v534DIM`)."""

    def __init__(self, sizes, tokens: SpecialTokens) -> None:
        super().__init__()
        self.tokens = tokens
        self.marian = MarianModel(marian_config(sizes, tokens))
        freeze_positions(self.marian)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) tokens -> (B, T, D) last encoder states and (B, T, D) last decoder states."""
        start = torch.full_like(tokens, self.tokens.begin)
        states = self.marian(input_ids=tokens, attention_mask=is_text(tokens, self.tokens.end), decoder_input_ids=start)
        return states.encoder_last_hidden_state, states.last_hidden_state


class TokenTranslator(nn.Module):
    """Vocabulary logits of a translated caption; the decoder reads the caption's own tokens (the original `trainclip_v5335DIM`)."""

    def __init__(self, sizes, tokens: SpecialTokens) -> None:
        super().__init__()
        self.tokens = tokens
        self.marian = MarianMTModel(marian_config(sizes, tokens))
        freeze_positions(self.marian.model)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) tokens -> (B, T, V) logits."""
        return self.marian(input_ids=tokens, attention_mask=is_text(tokens, self.tokens.end), decoder_input_ids=tokens).logits
