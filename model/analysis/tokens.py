"""Figures of a trained token embedding. Shapes: V tokens, D features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase


def token_figures(embedding: Tensor, names: Sequence[str], count: int = 10) -> dict[str, Any]:
    """Returns the mean, deviation, minimum and maximum of the lengths of (V, D) embeddings; the `count` tokens nearest
    to the direction of the mean embedding and the `count` furthest from it, each with its cosine.
    """
    embedding = embedding.double()
    norms = embedding.norm(dim=1)
    cosines = F.cosine_similarity(embedding, embedding.mean(dim=0, keepdim=True), dim=1)
    order = torch.argsort(cosines, descending=True, stable=True).tolist()
    return {
        "norm": {
            "mean": norms.mean().item(),
            "std": norms.std(correction=0).item(),
            "min": norms.min().item(),
            "max": norms.max().item(),
        },
        "central": [[names[i], cosines[i].item()] for i in order[:count]],
        "furthest": [[names[i], cosines[i].item()] for i in order[::-1][:count]],
    }


def token_names(tokenizer: PreTrainedTokenizerBase, count: int) -> list[str]:
    """Returns the first `count` tokens as text. A token that is not a text by itself, such as a part of a character,
    has the name that it has in the tokeniser's vocabulary.
    """
    entries = tokenizer.convert_ids_to_tokens(list(range(count)))
    texts = [str(tokenizer.decode([i])) for i in range(count)]
    return [entry if "\ufffd" in text or not text.strip() else text for entry, text in zip(entries, texts, strict=True)]
