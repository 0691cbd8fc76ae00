"""Retrieval between two sets of features whose rows match. Shapes: N queries, M candidates, D features; row i of one matches row i of the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def recall_at(scores: Tensor, k: int) -> float:
    """Share of rows of `scores` (N, M), candidate i being the match of query i, whose match is among the k best.

    Ties are counted fairly: as the expectation over orders of equal candidates. NaN ranks last.
    """
    return recall_of(*places(scores, torch.arange(len(scores), device=scores.device)), k)


def places(scores: Tensor, match: Tensor) -> tuple[Tensor, Tensor]:
    """(N, M) scores, (N,) column of each row's match -> per row the number of better candidates and of equal ones (the match counted)."""
    scores = torch.nan_to_num(scores, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    own = scores.gather(1, match[:, None])
    return (scores > own).sum(dim=1), (scores == own).sum(dim=1)


def recall_of(better: Tensor, equal: Tensor, k: int) -> float:
    """Recall at k from `places`: with b better and e equal candidates the match is among the first k with probability (k - b) / e, within 0 and 1."""
    return ((k - better).double() / equal).clamp(0, 1).mean().item()


def retrieval(queries: Tensor, candidates: Tensor, ks: Sequence[int] = (1, 5, 10), rows: int = 1024) -> dict[int, float]:
    """Recall at every k by cosine similarity of (N, D) and (N, D) features, `rows` queries at a time (memory: rows * N floats)."""
    queries, candidates = F.normalize(queries.float(), dim=-1), F.normalize(candidates.float(), dim=-1)
    match = torch.arange(len(queries), device=queries.device)
    tiles = [places(queries[i : i + rows] @ candidates.T, match[i : i + rows]) for i in range(0, len(queries), rows)]
    better, equal = (torch.cat(parts) for parts in zip(*tiles, strict=True))
    return {k: recall_of(better, equal, k) for k in ks}
