"""Classification by the texts that name classes. Shapes: N samples, C classes, D features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.analysis.retrieval import hits, places


def class_features(prompts: Sequence[Tensor]) -> Tensor:
    """For each of C classes the (P, D) features of its prompts -> (C, D): the mean of the prompts' directions (Radford
    et al. 2021).
    """
    return torch.stack([F.normalize(F.normalize(features, dim=-1).mean(dim=0), dim=-1) for features in prompts])


def zero_shot_hits(images: Tensor, classes: Tensor, labels: Tensor, k: int) -> Tensor:
    """(N, D) images, (C, D) class features, (N,) labels -> (N,) probability that the label is among the k most similar
    classes; ties as in retrieval.
    """
    scores = F.normalize(images, dim=-1) @ F.normalize(classes, dim=-1).T
    return hits(places(scores, labels), k)


def majority(labels: Tensor) -> float:
    """Share of the most frequent of (N,) labels."""
    return int(labels.bincount().max()) / len(labels)
