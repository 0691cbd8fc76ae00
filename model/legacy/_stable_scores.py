"""The arithmetic of the old StableLossFunctions. Shapes: n views (B, F)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add, mul

import torch
from torch import Tensor

from model.errors import one_of
from model.legacy._figures import one_score
from model.losses.formulas.to_mean import stable_cosine, stable_distance
from model.losses.inputs import check_views
from model.losses.numerics import normalise, result_dtype, safe_sqrt, widen
from model.losses.score import on_axes


@dataclass(eq=False)
class StableScores:
    """Guarded operations, and four scores that normalise rows. eps: a number that is added to denominators; clamp_min,
    clamp_max: bounds of results.

    They compute in float64, where eps is not lost, and return float64 for float64 and float32 for other dtypes.
    """

    eps: float = 1e-8
    clamp_min: float = -100
    clamp_max: float = 100

    def _clamp(self, x: Tensor) -> Tensor:
        return x.clamp(self.clamp_min, self.clamp_max)

    def _rows(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns normalised rows of the views, float64."""
        return [normalise(widen(view), self.eps) for view in check_views(features, None)]

    def stable_norm(self, x: Tensor, dim: int = -1, keepdim: bool = True) -> Tensor:
        """x / (|x| + eps) along `dim`."""
        wide = widen(x)
        return (wide / (torch.linalg.vector_norm(wide, dim=dim, keepdim=keepdim) + self.eps)).to(result_dtype(x))

    def stable_division(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """numerator / max(denominator, eps), clamped to the bounds."""
        return self._clamp(widen(numerator) / widen(denominator).clamp(min=self.eps)).to(result_dtype(numerator))

    def stable_sqrt(self, x: Tensor) -> Tensor:
        """sqrt(|x| + eps)."""
        return safe_sqrt(widen(x).abs() + self.eps).to(result_dtype(x))

    def stable_log(self, x: Tensor) -> Tensor:
        """log(|x| + eps)."""
        return (widen(x).abs() + self.eps).log().to(result_dtype(x))

    def stable_mean_n_vectors(self, *vectors: Tensor) -> Tensor:
        """The sum of n vectors / (n + eps)."""
        return (reduce(add, map(widen, vectors)) / (len(vectors) + self.eps)).to(result_dtype(vectors[0]))

    def stable_einsum_similarity(self, *features: Tensor) -> Tensor:
        """sum_z prod_k x_k[z], (B,)*n. Products of three views, and the sum, are clamped to the bounds."""
        if self.clamp_min <= -1 and self.clamp_max >= 1:  # bounds that no product of unit rows reaches
            return self._clamp(one_score("einsum", features, eps=self.eps))
        n = len(features)
        rows = [on_axes(view, [k, n], n + 1) for k, view in enumerate(self._rows(features))]
        products = [self._clamp(reduce(mul, rows[k : k + 3])) for k in range(0, n, 3)]
        return self._clamp(reduce(mul, products).sum(-1)).to(result_dtype(features[0]))

    def stable_norm_based_similarity(self, *features: Tensor) -> Tensor:
        """sum_k clamp(x_k.S / (|S| + eps), -1, 1) with S the sum of the views, (B,)*n."""
        return one_score("stable_norm", features, eps=self.eps)

    def stable_cosine_similarity_nd(self, *features: Tensor) -> Tensor:
        """The n-th root of |prod_k x_k[a].u[b]|, (B, B), clamped to the bounds; u is the mean of a sample's views,
        scaled to length 1.
        """
        rows = self._rows(features)
        centre = normalise(self.stable_mean_n_vectors(*rows), self.eps)
        return self._clamp(stable_cosine([view @ centre.T for view in rows], len(rows))).to(result_dtype(features[0]))

    def stable_euclidean_distance_nd(self, *features: Tensor) -> Tensor:
        """-mean_k sqrt(|x_k[a] - u[b]|^2 + eps), (B, B); u is the mean of a sample's views."""
        rows = self._rows(features)
        centre = self.stable_mean_n_vectors(*rows)
        centre_square = centre.square().sum(-1)
        squares = [view.square().sum(-1, keepdim=True) + centre_square - 2 * view @ centre.T for view in rows]
        return stable_distance(squares, len(rows), self.eps).to(result_dtype(features[0]))

    def by_version(self, loss_version: int, normalize: bool, *features: Tensor) -> Tensor:
        """Returns one of the four scores, by its number. normalize: whether rows are scaled once more before. Raises
        ConfigError for another number.
        """
        scores = (
            self.stable_einsum_similarity, self.stable_norm_based_similarity, self.stable_cosine_similarity_nd,
            self.stable_euclidean_distance_nd,
        )  # fmt: skip
        one_of("loss_version", loss_version, range(len(scores)))
        result = scores[loss_version](*(self._rows(features) if normalize else features))
        return result.to(result_dtype(features[0]))
