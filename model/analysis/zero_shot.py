"""Zero-shot classification: an image gets the class whose texts are most similar. Shapes: N samples, C classes, P
prompts of a class, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.analysis.retrieval import count_candidates, hit_probability


def class_features(prompts: Sequence[Tensor]) -> Tensor:
    """Returns the direction of the mean of the prompts' directions (Radford et al. 2021) for each of C classes: (C, D).
    prompts: the (P, D) features of each class.
    """
    return torch.stack([F.normalize(F.normalize(features, dim=-1).mean(dim=0), dim=-1) for features in prompts])


def zero_shot_hits(images: Tensor, classes: Tensor, labels: Tensor, k: int) -> Tensor:
    """Returns the probability that the label is among the k most similar classes, over all orders of equally similar
    classes: (N, D) images, (C, D) class features, (N,) labels -> (N,).
    """
    scores = F.normalize(images, dim=-1) @ F.normalize(classes, dim=-1).T
    return hit_probability(count_candidates(scores, labels), k)


def majority(labels: Tensor) -> float:
    """Returns the share of the most frequent label among (N,) labels."""
    return int(labels.bincount().max()) / len(labels)
