"""Recall and swap accuracy on cases worked by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise, permutations
from pathlib import Path

import pytest
import torch

from model.analysis.retrieval import count_candidates, expected_ranks, hit_probability, rank_by_cosine, recall
from model.analysis.validation import batch_figures
from model.losses import make_loss


def recall_at(scores: torch.Tensor, k: int) -> float:
    """The recall at k of (N, M) scores, where candidate i matches query i."""
    return recall(count_candidates(scores, torch.arange(len(scores))), k)


def test_recall_by_hand():
    scores = torch.tensor([[3.0, 1.0], [2.0, 0.0]])  # row 1 prefers column 0
    assert recall_at(scores, 1) == 0.5
    assert recall_at(scores, 2) == 1.0


@pytest.mark.parametrize(("k", "expected"), [(1, 0.25), (2, 0.5), (4, 1.0)])
def test_equal_scores_count_as_chance(k, expected):
    """A model with equal scores for all candidates has recall k / N, not 1."""
    assert recall_at(torch.zeros(4, 4), k) == pytest.approx(expected)


def test_a_tie_behind_better_candidates():
    """One better, two equal (one of them the match): at k = 2 the match is included with probability 1/2."""
    assert recall_at(torch.tensor([[1.0, 2.0, 1.0]]), 2) == 0.5


def test_nan_scores_rank_last():
    """A match with a score of NaN, beside scores of 1 and 0, is found only at k = 3."""
    scores = torch.tensor([[float("nan"), 1.0, 0.0]])
    assert [recall_at(scores, k) for k in (1, 2, 3)] == [0.0, 0.0, 1.0]


def test_retrieval_in_tiles_equals_a_loop_over_queries():
    """Compares with ranks that are computed row by row."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(37, 8, generator=generator)
    candidates = queries + torch.randn(37, 8, generator=generator)
    cosine = (queries / queries.norm(dim=1, keepdim=True)).double() @ (
        candidates / candidates.norm(dim=1, keepdim=True)
    ).double().T
    expected = [sorted(row.tolist(), reverse=True).index(row[i].item()) for i, row in enumerate(cosine)]
    counts = rank_by_cosine(queries, candidates, cells=10 * 37)
    assert [recall(counts, k) for k in (1, 5, 10)] == pytest.approx(
        [sum(rank < k for rank in expected) / 37 for k in (1, 5, 10)]
    )
    assert 0.1 < recall(counts, 1) < 1
    assert expected_ranks(counts).tolist() == [rank + 1 for rank in expected]


@pytest.mark.parametrize(
    ("scores", "match"),
    [
        ([3.0, 3.0, 3.0, 1.0, 5.0], [0, 1]),  # one better, three equal, two of them matches
        ([2.0, 2.0, 2.0, 2.0], [1, 2, 3]),
        ([1.0, 4.0, 4.0, 0.0], [0, 3]),  # the worse match does not count
        ([1.0, 1.0, 2.0], [2]),
    ],
)
def test_several_matches_among_ties_as_the_mean_over_all_orders(scores, match):
    """Compares with every order of the candidates that their scores allow."""
    counts = count_candidates(torch.tensor([scores]), torch.tensor([match]))
    orders = [
        order for order in permutations(range(len(scores))) if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    first = [min(order.index(i) for i in match) for order in orders]
    for k in range(1, len(scores) + 1):
        assert hit_probability(counts, k).item() == pytest.approx(sum(place < k for place in first) / len(first)), k
    assert expected_ranks(counts).item() == pytest.approx(1 + sum(first) / len(first))


def test_any_of_three_captions_counts():
    """Compares with a loop in float64; the captions of a sample are next to each other."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(23, 6, generator=generator)
    captions = images.repeat_interleave(3, dim=0) + 2 * torch.randn(69, 6, generator=generator)
    cosine = torch.nn.functional.cosine_similarity(images.double()[:, None], captions.double()[None], dim=-1)
    best = [
        1 + min(row.argsort(descending=True).tolist().index(3 * i + j) for j in range(3))
        for i, row in enumerate(cosine)
    ]
    assert expected_ranks(rank_by_cosine(images, captions, cells=200)).tolist() == best
    assert 1 < sorted(best)[11] < 23


PEAK = """
import resource, torch
from model.analysis.retrieval import rank_by_cosine
torch.set_num_threads(1)
images, captions = torch.randn(2000, 16), torch.randn(20000, 16)
rank_by_cosine(images[:8], captions[:8])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rank_by_cosine(images, captions)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="ru_maxrss is in bytes there")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_scores():
    """2,000 images and 20,000 captions: all scores, a copy of them and a mask would take 343 MiB."""
    root = Path(__file__).resolve().parents[2]
    process = subprocess.run(
        [sys.executable, "-c", PEAK], cwd=root, capture_output=True, text=True, check=True, timeout=120
    )
    assert int(process.stdout) / 1024 < 200


def figures_by_hand(
    lines: torch.Tensor, candidates: torch.Tensor, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, N, N) logits of lines -> for each of `rows`, the loss by torch's cross-entropy over `candidates`, and the
    share of its lines on which the match has the highest logit.
    """
    logits = lines[:, rows][:, :, candidates]
    labels = torch.stack([(candidates == row).nonzero()[0, 0] for row in rows]).expand(len(lines), -1)
    losses = torch.nn.functional.cross_entropy(logits.permute(0, 2, 1), labels, reduction="none")
    return losses.mean(0), (logits.argmax(2) == labels).double().mean(0)


@pytest.mark.parametrize(
    ("total", "batches"),
    [
        (3, [[0, 1, 2]]),
        (8, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (9, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 0, 1, 2]]),
        (10, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]),
    ],
)
@pytest.mark.parametrize("name", ["normsv5", "stock", "einsum"])
def test_every_batch_of_an_evaluation_is_full(name, total, batches):
    """Batches of 4; the first rows fill up the last batch, and are not counted again."""
    loss, views = (
        make_loss(name),
        torch.randn(3, total, 8, generator=torch.Generator().manual_seed(total), dtype=torch.float64),
    )
    lines, of_batches = 5.0 * loss.lines(views), []
    for number, batch in enumerate(batches):
        candidates = torch.tensor(batch)
        of_batches.append(figures_by_hand(lines, candidates, candidates[candidates >= 4 * number]))
    want_loss, want_wins = (torch.cat(rows).mean().item() for rows in zip(*of_batches, strict=True))
    assert batch_figures(loss, views, torch.tensor(5.0), 4) == (
        pytest.approx(want_loss, rel=1e-9),
        pytest.approx(want_wins, rel=1e-9),
    )


def test_a_last_batch_of_one_row_is_filled_up():
    """All views are equal: the loss of every row is ln 4, and no match has the highest score of its line."""
    views = torch.ones(2, 5, 8, dtype=torch.float64)
    assert batch_figures(make_loss("stock"), views, torch.tensor(5.0), 4) == (pytest.approx(math.log(4)), 0.0)
