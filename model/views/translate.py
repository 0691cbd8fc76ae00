"""From the encoder-decoder's output to the input of the text transformer: the choice of tokens and of the end row.

Hard choices use the straight-through estimator: the forward value is the chosen row, the gradient is that of the
softmax. Gumbel noise is drawn in training only; evaluation uses the plain argmax. Shapes: B rows, T tokens, D features,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Draws the noise of a choice, of the shape of the logits.
Draw = Callable[[], Tensor]
# Logits (..., C), and how noise is drawn in training (None: evaluation) -> weights (..., C) in float32.
Choice = Callable[[Tensor, Draw | None], Tensor]


def soft_choice(logits: Tensor, draw: Draw | None) -> Tensor:
    """Returns softmax weights."""
    return logits.float().softmax(dim=-1)


def hard_choice(logits: Tensor, draw: Draw | None) -> Tensor:
    """Returns a one-hot vector of the largest logit, with the gradient of the softmax."""
    weights = logits.float().softmax(dim=-1)
    hard = F.one_hot(weights.argmax(dim=-1), weights.shape[-1]).to(weights.dtype)
    return hard + (weights - weights.detach())


def gumbel_choice(logits: Tensor, draw: Draw | None) -> Tensor:
    """Returns a one-hot vector: in training of a class that is sampled with Gumbel noise (Jang et al. 2017), in
    evaluation of the largest logit.
    """
    return hard_choice(logits if draw is None else logits.float() + draw(), None)


def gumbel_noise(shape: Sequence[int], device: torch.device) -> Tensor:
    """Draws noise of the standard Gumbel distribution from torch's generator: `shape`, float32."""
    return -torch.empty(*shape, device=device).exponential_().log()


TOKEN_CHOICES: dict[str, Choice] = {"softmax": soft_choice, "gumbel": gumbel_choice}
END_CHOICES: dict[str, Choice] = {"argmax": hard_choice, "gumbel": gumbel_choice}


def chosen_embeddings(weights: Tensor, embedding: Tensor) -> Tensor:
    """Returns sums of (V, D) embeddings with (B, T, V) weights: (B, T, D)."""
    return weights.to(embedding.dtype) @ embedding


def end_similarity(units: Tensor, end_embedding: Tensor) -> Tensor:
    """Returns the cosines of (B, T, D) float32 states of norm 1 and the (D,) embedding of the end token: (B, T)."""
    return units @ F.normalize(end_embedding.to(units.dtype), dim=-1)


def chosen_row(states: Tensor, weights: Tensor) -> Tensor:
    """Returns sums of the rows of (B, T, D) states with (B, T) weights: (B, D)."""
    return torch.einsum("btd,bt->bd", states, weights.to(states.dtype))
