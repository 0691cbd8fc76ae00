"""What a token embedding has come to. Shapes: V tokens, D features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def token_figures(embedding: Tensor, names: Sequence[str], most: int = 10) -> dict:
    """The lengths of (V, D) embeddings, and the `most` tokens nearest to the direction of their mean and furthest from
    it, each with its cosine.
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
        "central": [[names[i], cosines[i].item()] for i in order[:most]],
        "furthest": [[names[i], cosines[i].item()] for i in order[::-1][:most]],
    }


def token_names(tokenizer, count: int) -> list[str]:
    """The first `count` tokens as text; those that are no text by themselves (parts of a character) as the tokeniser
    writes them.
    """
    written = tokenizer.convert_ids_to_tokens(list(range(count)))
    read = [tokenizer.decode([i]) for i in range(count)]
    return [token if "\ufffd" in text or not text.strip() else text for token, text in zip(written, read, strict=True)]
