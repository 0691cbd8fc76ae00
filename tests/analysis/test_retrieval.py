"""Recall and swap accuracy on cases worked by hand."""

from __future__ import annotations

import pytest
import torch

from model.analysis.retrieval import recall_at, retrieval
from model.analysis.validation import even_sizes, swap_accuracy


def test_recall_by_hand():
    scores = torch.tensor([[3.0, 1.0], [2.0, 0.0]])  # row 1 prefers column 0
    assert recall_at(scores, 1) == 0.5
    assert recall_at(scores, 2) == 1.0


@pytest.mark.parametrize(("k", "expected"), [(1, 0.25), (2, 0.5), (4, 1.0)])
def test_equal_scores_count_as_chance(k, expected):
    """A model that says the same of everything has recall k / N, not 1."""
    assert recall_at(torch.zeros(4, 4), k) == pytest.approx(expected)


def test_a_tie_behind_better_candidates():
    """One better, two equal (the match among them): at k = 2 the match is in with probability 1/2."""
    assert recall_at(torch.tensor([[1.0, 2.0, 1.0]]), 2) == 0.5


def test_nan_scores_rank_last():
    """Against 1 and 0, a match scored NaN is found at k = 3 only."""
    scores = torch.tensor([[float("nan"), 1.0, 0.0]])
    assert [recall_at(scores, k) for k in (1, 2, 3)] == [0.0, 0.0, 1.0]


def test_retrieval_in_tiles_equals_a_loop_over_queries():
    """Against a rank computed row by row in numpy."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(37, 8, generator=generator)
    candidates = queries + torch.randn(37, 8, generator=generator)
    cosine = (queries / queries.norm(dim=1, keepdim=True)).double() @ (candidates / candidates.norm(dim=1, keepdim=True)).double().T
    ranks = [sorted(row.tolist(), reverse=True).index(row[i].item()) for i, row in enumerate(cosine)]
    found = retrieval(queries, candidates, (1, 5, 10), rows=10)
    assert found == pytest.approx({k: sum(rank < k for rank in ranks) / 37 for k in (1, 5, 10)})
    assert 0.1 < found[1] < 1


def test_swap_accuracy_by_hand():
    """Two views, two rows: three of the four lines are won; a tie is lost."""
    lines = torch.tensor([[[2.0, 1.0], [0.0, 3.0]], [[1.0, 0.0], [5.0, 5.0]]])
    assert swap_accuracy(lines) == 0.75


@pytest.mark.parametrize(("total", "size", "expected"), [(10, 4, [4, 3, 3]), (9, 4, [3, 3, 3]), (5, 8, [5]), (257, 256, [129, 128])])
def test_batches_of_the_validation_loss_are_even(total, size, expected):
    assert even_sizes(total, size) == expected
