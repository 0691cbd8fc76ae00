"""Retrieval: the ranks of matching candidates, and recall. Shapes: n views, N queries or samples, M candidates, K
candidates that match a query, T queries of a tile, D features.

torchmetrics is not used. Its retrieval metrics store every score with two int64 (2.5 GB for 5,000 images and
25,000 captions), and they keep equal scores in the order of the sort, so that a model whose features are all alike
would find every match first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from model.losses.objective.loss import ContrastiveLoss
from model.metric_names import KS

# Scores of a tile: 8 MiB of float32. Comparing and counting them takes about four times that.
CELLS = 1 << 21


class MatchCounts(NamedTuple):
    """The numbers of candidates that decide the rank of each query's best match, (N,) int64 each."""

    better: Tensor
    """The number of candidates with a higher score than the best match."""
    equal: Tensor
    """The number of candidates with the score of the best match, including it."""
    matching: Tensor
    """The number of those equal candidates that match the query."""


def count_candidates(scores: Tensor, match: Tensor) -> MatchCounts:
    """Compares candidates with the best match of each query. scores: (T, M); match: (T,) or (T, K), the columns that
    match each row. A score of NaN ranks last.
    """
    scores = torch.nan_to_num(scores, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    of_matches = scores.gather(1, match.reshape(len(scores), -1))
    best = of_matches.amax(dim=1, keepdim=True)
    return MatchCounts((scores > best).sum(dim=1), (scores == best).sum(dim=1), (of_matches == best).sum(dim=1))


def hit_probability(counts: MatchCounts, k: int) -> Tensor:
    """Returns the probability that a match is among the first k, over all orders of equal candidates: (N,) float64.

    Of e + m equal candidates m match; j = k - better ranks are left for them, and none of these ranks holds a match
    with probability C(e, j) / C(e + m, j), the product of (e - j + i) / (e + i) over i = 1 … m.
    """
    ranks_left = (k - counts.better).clamp(min=0).double()
    others = (counts.equal - counts.matching).double()
    miss = torch.ones_like(ranks_left)
    for i in range(1, int(counts.matching.max()) + 1):
        factor = ((others - ranks_left + i) / (others + i)).clamp(min=0)
        miss = torch.where(i <= counts.matching, miss * factor, miss)
    return 1 - miss


def expected_ranks(counts: MatchCounts) -> Tensor:
    """Returns the expected rank of the first match, from 1, over all orders of equal candidates: (N,) float64."""
    return counts.better + (counts.equal + 1).double() / (counts.matching + 1)


def recall(counts: MatchCounts, k: int) -> float:
    """Returns the share of queries with a match among the first k; equal candidates count with the mean over their
    orders.
    """
    return hit_probability(counts, k).mean().item()


def tiles(size: int, width: int, cells: int = CELLS) -> Iterator[slice]:
    """Yields slices of `size` rows of `width` scores, with at most `cells` scores in a slice (at least one row)."""
    step = max(1, cells // max(1, width))
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def rank_by_cosine(queries: Tensor, candidates: Tensor, cells: int = CELLS) -> MatchCounts:
    """Ranks (N K, D) candidates for (N, D) queries by cosine similarity. Rows i K … i K + K - 1 of the candidates match
    query i. Memory: a few times `cells` scores.
    """
    queries, candidates = F.normalize(queries.float(), dim=-1), F.normalize(candidates.float(), dim=-1)
    match = torch.arange(len(candidates), device=queries.device).reshape(len(queries), -1)
    # Allocated once: small results between large tiles would leave gaps in memory that no later tile fits into.
    counts = MatchCounts(*match.new_empty(3, len(queries)))
    for rows in tiles(len(queries), len(candidates), cells):
        tile = count_candidates(queries[rows] @ candidates.T, match[rows])
        for count, tile_count in zip(counts, tile, strict=True):
            count[rows] = tile_count
    return counts


def cosine_recalls(queries: Tensor, candidates: Tensor, ks: Sequence[int] = KS) -> dict[int, float]:
    """Returns the recall at every k, by cosine similarity of (N, D) queries and (N, D) candidates; candidate i matches
    query i.
    """
    counts = rank_by_cosine(queries, candidates)
    return {k: recall(counts, k) for k in ks}


def rank_from_other_views(loss: ContrastiveLoss, views: Tensor) -> list[MatchCounts]:
    """Ranks, for each view that the loss reads, its N rows as candidates for the other n - 1 views of each sample, by
    the score that was trained. views: (n, N, D). The result is on the CPU. Memory: a few tiles of `loss`.
    """
    read = views[: loss.reads]
    match = torch.arange(read.shape[1], device=views.device)
    counts = match.new_empty(len(read), 3, len(match))
    for view, rows, scores in loss.rest_tiles(read):
        counts[view, :, rows] = torch.stack(count_candidates(scores, match[rows]))
    return [MatchCounts(*of_view) for of_view in counts.cpu()]


def joint_recalls(counts: Sequence[MatchCounts]) -> dict[str, float]:
    """Returns `joint_recall@k`, the share of samples whose image is among the k images with the highest score for the
    other views of the sample, and `joint_recall_all@k`, the mean of this share over every view as the one to find.
    Equal candidates count with the mean over their orders. counts: the result of `rank_from_other_views`.
    """
    recalls = {k: [recall(of_view, k) for of_view in counts] for k in KS}
    return {
        **{f"joint_recall@{k}": recalls[k][0] for k in KS},
        **{f"joint_recall_all@{k}": sum(recalls[k]) / len(counts) for k in KS},
    }
