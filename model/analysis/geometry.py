"""The geometry of features, and how it changes from one validation to the next. Shapes: n views, N samples, D features.

"Unit features" are rows that are scaled to length 1 in float64, see `unit`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.analysis.retrieval import CELLS, tiles


def unit(features: Tensor) -> Tensor:
    """Scales (…, D) rows to length 1; returns float64."""
    return F.normalize(features.double(), dim=-1)


def alignment(x: Tensor, y: Tensor) -> float:
    """Returns E |x - y|^2 over matching rows of two (N, D) unit features (Wang and Isola 2020, alpha = 2): 0 for equal
    rows, 2 for unrelated ones.
    """
    return (x - y).square().sum(dim=-1).mean().item()


def uniformity(features: Tensor, t: float = 2.0, cells: int = CELLS) -> float:
    """Returns log E exp(-t |x - y|^2) over pairs of different rows of (N, D) unit features (Wang and Isola 2020): 0 if
    all rows are equal, -2t if all are orthogonal, NaN for fewer than two rows. Memory: a few times `cells` distances.
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
    """Returns exp of the entropy of the singular values' shares in their sum (RankMe, Garrido et al. 2023), for (N, D)
    features: 1 to min(N, D). NaN if a feature is not finite or all are zero.
    """
    if not torch.isfinite(features).all() or not features.any():
        return math.nan
    try:
        values = torch.linalg.svdvals(features)
    except torch.linalg.LinAlgError:  # the decomposition did not converge, which must not end a run
        return math.nan
    shares = values / values.sum()
    return math.exp(-torch.special.xlogy(shares, shares).sum().item())


def modality_gap(x: Tensor, y: Tensor) -> float:
    """Returns the distance between the centroids of two (N, D) unit features (Liang et al. 2022): 0 to 2."""
    return (x.mean(dim=0) - y.mean(dim=0)).norm().item()


def mean_similarity(features: Tensor) -> float:
    """Returns the mean cosine of two different rows of (N, D) unit features: 1 if all rows are equal (collapse). NaN
    for fewer than two rows.
    """
    size = len(features)
    pairs = features.sum(dim=0).square().sum() - features.square().sum()
    return pairs.item() / (size * (size - 1)) if size > 1 else math.nan


def geometry(views: Tensor, names: Sequence[str]) -> dict:
    """Computes all measures above of (n, N, D) views, the image first: alignment of each pair of views, the modality
    gap between the image and each other view, and uniformity and effective rank of each view.
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
    """Returns the result of `geometry` as columns of metrics.csv."""
    columns = {f"geometry/alignment/{'~'.join(pair['views'])}": pair["value"] for pair in figures["alignment"]}
    kinds = ("uniformity", "effective_rank", "modality_gap")
    return columns | {f"geometry/{kind}/{name}": value for kind in kinds for name, value in figures[kind].items()}


def drift_columns(views: Tensor, previous: Tensor | None, names: Sequence[str]) -> dict[str, float]:
    """Returns columns of metrics.csv for each of (n, N, D) views: the mean length of the features, the mean cosine of
    two different samples (1: collapse), and the mean cosine of each sample with itself at the previous validation.

    previous: the views of the previous validation. If it is None or has another shape, the columns of the third figure
    are left out.
    """
    columns = {}
    for i, name in enumerate(names):
        columns[f"drift/{name}/norm"] = views[i].double().norm(dim=-1).mean().item()
        columns[f"drift/{name}/mean_similarity"] = mean_similarity(unit(views[i]))
        if previous is not None and previous.shape == views.shape:
            columns[f"drift/{name}/cosine_to_previous"] = (
                F.cosine_similarity(views[i].double(), previous[i].double(), dim=-1).mean().item()
            )
    return columns
