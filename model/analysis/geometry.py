"""How features lie in space, all scaled to length 1 first. Shapes: n views, N samples, D features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.analysis.retrieval import CELLS, tiles


def unit(features: Tensor) -> Tensor:
    """(…, D) rows scaled to length 1, float64."""
    return F.normalize(features.double(), dim=-1)


def alignment(one: Tensor, other: Tensor) -> float:
    """E |x - y|^2 over matching rows of two (N, D) unit features (Wang and Isola 2020, alpha = 2). 0 is perfect, 2 is
    unrelated.
    """
    return (one - other).square().sum(dim=-1).mean().item()


def uniformity(features: Tensor, t: float = 2.0, cells: int = CELLS) -> float:
    """log E exp(-t |x - y|^2) over pairs of different rows of (N, D) unit features (Wang and Isola 2020). 0 where all
    rows are equal, towards -2t where all are orthogonal; NaN for fewer than two rows. Memory: a few times `cells`
    distances.
    """
    size, total = len(features), 0.0
    squares = features.square().sum(dim=-1)
    for rows in tiles(size, size, cells):
        distances = squares[rows, None] + squares - 2 * features[rows] @ features.T
        weights = torch.exp(-t * distances.clamp(min=0))
        weights.diagonal(rows.start).zero_()
        total += weights.sum().item()
    return math.log(total / (size * (size - 1))) if size > 1 and total > 0 else math.nan


def effective_rank(features: Tensor) -> float:
    """exp of the entropy of the singular values' shares (RankMe, Garrido et al. 2023) of (N, D) features: 1 to min(N,
    D).

    NaN where features are not finite or all zero.
    """
    if not torch.isfinite(features).all() or not features.any():
        return math.nan
    try:
        values = torch.linalg.svdvals(features)
    except torch.linalg.LinAlgError:  # it did not converge: no reason to end a run
        return math.nan
    shares = values / values.sum()
    return math.exp(-torch.special.xlogy(shares, shares).sum().item())


def modality_gap(one: Tensor, other: Tensor) -> float:
    """Distance between the centroids of two (N, D) unit features (Liang et al. 2022): 0 to 2."""
    return (one.mean(dim=0) - other.mean(dim=0)).norm().item()


def mean_similarity(features: Tensor) -> float:
    """Mean cosine of two different rows of (N, D) unit features: 1 where they have collapsed into one. NaN for fewer
    than two rows.
    """
    size = len(features)
    pairs = features.sum(dim=0).square().sum() - features.square().sum()
    return pairs.item() / (size * (size - 1)) if size > 1 else math.nan


def geometry(views: Tensor, names: Sequence[str]) -> dict:
    """Every measure above of (n, N, D) views, the image first: alignment per pair, the gap to the image, the others per
    view.
    """
    rows = dict(zip(names, unit(views), strict=True))
    image = names[0]
    return {
        "alignment": [{"views": [a, b], "value": alignment(rows[a], rows[b])} for a, b in combinations(names, 2)],
        "uniformity": {name: uniformity(row) for name, row in rows.items()},
        "effective_rank": {name: effective_rank(row) for name, row in rows.items()},
        "modality_gap": {name: modality_gap(rows[image], row) for name, row in rows.items() if name != image},
    }


def geometry_columns(figures: dict) -> dict[str, float]:
    """The same under the names of metrics.csv."""
    columns = {f"geometry/alignment/{'~'.join(pair['views'])}": pair["value"] for pair in figures["alignment"]}
    kinds = ("uniformity", "effective_rank", "modality_gap")
    return columns | {f"geometry/{kind}/{name}": value for kind in kinds for name, value in figures[kind].items()}
