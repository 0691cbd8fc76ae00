"""The views computed in full: every layer for every row of the whole context, by transformers' own forward passes."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from model.views.encoder import ViewEncoder
from model.views.recipes import CaptionView, Kind


def whole_views(encoder: ViewEncoder, images: torch.Tensor, captions: torch.Tensor) -> torch.Tensor:
    """(n, B, D) views of images (B, 3, H, W) and captions (B, K, T), with a softmax over tokens and the most similar
    row of the decoder. The captions of a translator go through it together, in the order of the plan.
    """
    towers, found = encoder.towers, {}
    image = towers.visual_projection(towers.vision(pixel_values=images).pooler_output)
    for caption in encoder.plan.captions_of(Kind.CAPTION):
        rows = towers.text(input_ids=captions[:, caption]).pooler_output
        found[CaptionView(Kind.CAPTION, caption)] = towers.text_projection(rows)
    for kind, compute in ((Kind.TRANSLATED, translated), (Kind.DECODED, decoded)):
        chosen = encoder.plan.captions_of(kind)
        if chosen:
            tokens = torch.cat([captions[:, caption] for caption in chosen])
            for rows_kind, rows in compute(encoder, tokens).items():
                of_captions = towers.text_projection(rows).chunk(len(chosen))
                found |= {CaptionView(rows_kind, c): part for c, part in zip(chosen, of_captions, strict=True)}
    return encoder.projection(torch.stack([image, *(found[view] for view in encoder.plan.views)]))


def ends_of(encoder: ViewEncoder, tokens: torch.Tensor) -> torch.Tensor:
    """The position of the first end token of each text; 0 without one."""
    found = [row.index(encoder.tokens.end) if encoder.tokens.end in row else 0 for row in tokens.tolist()]
    return torch.tensor(found)


def text_states(encoder: ViewEncoder, embeddings: torch.Tensor) -> torch.Tensor:
    """All states of the text tower. (B, T, D) -> (B, T, D)."""
    text, length = encoder.towers.text, embeddings.shape[1]
    mask = torch.full((length, length), float("-inf"), dtype=embeddings.dtype).triu(1)[None, None]
    hidden = text.encoder(inputs_embeds=text.embeddings(inputs_embeds=embeddings), attention_mask=mask)
    return text.final_layer_norm(hidden.last_hidden_state)


def translated(encoder: ViewEncoder, tokens: torch.Tensor) -> dict[Kind, torch.Tensor]:
    """The rows of the text tower of translated captions."""
    end = ends_of(encoder, tokens)
    mask = torch.arange(tokens.shape[1]) <= end[:, None]
    logits = encoder.translator.marian(input_ids=tokens, attention_mask=mask, decoder_input_ids=tokens).logits
    weights = token_weights(encoder, logits)
    states = text_states(encoder, weights @ encoder.towers.text.embeddings.token_embedding.weight)
    return {Kind.TRANSLATED: states[torch.arange(len(end)), end]}


def decoded(encoder: ViewEncoder, tokens: torch.Tensor) -> dict[Kind, torch.Tensor]:
    """The rows of the text tower of the decoder's states, and the encoder's states at the end token."""
    end = ends_of(encoder, tokens)
    mask = torch.arange(tokens.shape[1]) <= end[:, None]
    begin = torch.full_like(tokens, encoder.tokens.begin)
    states = encoder.states.marian(input_ids=tokens, attention_mask=mask, decoder_input_ids=begin)
    decoder = F.normalize(states.last_hidden_state, dim=-1)
    end_embedding = encoder.towers.text.embeddings.token_embedding.weight[encoder.tokens.end]
    similarity = F.cosine_similarity(decoder, end_embedding[None, None], dim=-1)
    if encoder.choose_end.__name__ == "gumbel_choice" and encoder.training:
        weights = F.gumbel_softmax(similarity, hard=True)
    else:
        soft = similarity.softmax(dim=-1)
        weights = F.one_hot(soft.argmax(dim=-1), soft.shape[-1]) - soft.detach() + soft
    rows = (text_states(encoder, decoder) * weights[..., None]).sum(dim=1)
    return {Kind.DECODED: rows, Kind.ENCODED: states.encoder_last_hidden_state[torch.arange(len(end)), end]}


def token_weights(encoder: ViewEncoder, logits: torch.Tensor) -> torch.Tensor:
    """(B, T, V) logits -> weights of the vocabulary."""
    if encoder.choose_tokens.__name__ == "gumbel_choice" and encoder.training:
        return F.gumbel_softmax(logits, hard=True)
    return logits.softmax(dim=-1)
