"""Retrieval between two sets of features. Shapes: N queries, M candidates, K candidates that match a query, T queries
of a tile, D features.

torchmetrics is not used: its retrieval metrics take every score with two int64 beside it (2.5 GB for 5,000 pictures and
25,000 captions), and order equal scores as the sort happens to leave them, so that features that are all alike would be
found first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

KS = (1, 5, 10)
# Scores of a tile: 8 MiB of float32; comparing and counting them takes about four times that.
CELLS = 1 << 21


class Places(NamedTuple):
    """Where the best match of each query stands; (N,) int64 each."""

    better: Tensor
    """Candidates with a higher score."""
    equal: Tensor
    """Candidates with the same score, the match counted."""
    own: Tensor
    """Those of them that match."""


def places(scores: Tensor, match: Tensor) -> Places:
    """(T, M) scores and the (T,) or (T, K) columns that match each row -> where the best of these stands. NaN ranks
    last.
    """
    scores = torch.nan_to_num(scores, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    own = scores.gather(1, match.reshape(len(scores), -1))
    best = own.amax(dim=1, keepdim=True)
    return Places((scores > best).sum(dim=1), (scores == best).sum(dim=1), (own == best).sum(dim=1))


def hits(found: Places, k: int) -> Tensor:
    """(N,) float64: the probability that a match is among the first k, over all orders of equal candidates.

    Of e + m equal candidates m match; j = k - better places are left for them, and none matches with probability
    C(e, j) / C(e + m, j), the product of (e - j + i) / (e + i) over i = 1 … m.
    """
    left = (k - found.better).clamp(min=0).double()
    others = (found.equal - found.own).double()
    missed = torch.ones_like(left)
    for i in range(1, int(found.own.max()) + 1):
        factor = ((others - left + i) / (others + i)).clamp(min=0)
        missed = torch.where(i <= found.own, missed * factor, missed)
    return 1 - missed


def ranks(found: Places) -> Tensor:
    """(N,) float64: the expected rank of the first match, from 1, over all orders of equal candidates."""
    return found.better + (found.equal + 1).double() / (found.own + 1)


def recall_at(scores: Tensor, k: int) -> float:
    """Share of rows of `scores` (N, M), candidate i being the match of query i, whose match is among the k best.

    Ties are counted fairly: as the expectation over orders of equal candidates. NaN ranks last.
    """
    return recall_of(places(scores, torch.arange(len(scores), device=scores.device)), k)


def recall_of(found: Places, k: int) -> float:
    """Recall at k from places."""
    return hits(found, k).mean().item()


def tiles(size: int, width: int, cells: int = CELLS) -> Iterator[slice]:
    """Slices of `size` rows of `width` scores each, at most `cells` scores in a slice."""
    step = max(1, cells // max(1, width))
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def find(queries: Tensor, candidates: Tensor, cells: int = CELLS) -> Places:
    """Places by cosine similarity of (N, D) and (N K, D) features, rows i K … i K + K - 1 of the candidates matching
    query i.

    Memory: a few times `cells` scores.
    """
    queries, candidates = F.normalize(queries.float(), dim=-1), F.normalize(candidates.float(), dim=-1)
    match = torch.arange(len(candidates), device=queries.device).reshape(len(queries), -1)
    # Made at once: small results kept between large tiles would leave gaps that no later tile fits into.
    found = Places(*match.new_empty(3, len(queries)))
    for rows in tiles(len(queries), len(candidates), cells):
        for whole, part in zip(found, places(queries[rows] @ candidates.T, match[rows]), strict=True):
            whole[rows] = part
    return found


def retrieval(queries: Tensor, candidates: Tensor, ks: Sequence[int] = KS) -> dict[int, float]:
    """Recall at every k by cosine similarity of (N, D) and (N, D) features."""
    found = find(queries, candidates)
    return {k: recall_of(found, k) for k in ks}
