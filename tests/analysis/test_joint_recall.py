"""Ranks of a view given the other views, compared with the scores of all tuples."""

from __future__ import annotations

import pytest
import torch

from model.analysis.retrieval import expected_ranks, joint_recalls, rank_from_other_views
from model.losses import available, make_loss
from model.losses.objective.loss import TupleLoss
from tests import oracles
from tests.losses.names import MATRICES

TUPLE_LOSSES = [name for name in available() if isinstance(make_loss(name), TupleLoss)]


def views_of(n: int, size: int, seed: int = 0) -> torch.Tensor:
    """Related views, float64."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(size, 5, generator=generator, dtype=torch.float64)
    return base + torch.randn(n, size, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", TUPLE_LOSSES)
@pytest.mark.parametrize("n", [3, 4])
def test_ranks_are_those_of_the_dense_scores(name, n):
    """Compares with the (N,)*n scores: row i of every view except a, with each row of view a."""
    views = views_of(n, 6)
    scores = make_loss("einsum" if name == "symile" else name).score(views)
    counts = rank_from_other_views(make_loss(name), views)
    for a in range(n):
        line = torch.stack([scores[tuple(slice(None) if k == a else i for k in range(n))] for i in range(6)])
        expected = [1 + sum(x > line[i, i] + 1e-12 for x in line[i]) for i in range(6)]
        assert expected_ranks(counts[a]).tolist() == pytest.approx([float(rank) for rank in expected]), a
    assert any(rank > 1 for rank in expected_ranks(counts[0]))


def test_tiles_of_a_small_budget_change_nothing():
    views = views_of(3, 300).float()
    one_tile, many_tiles = make_loss("normsv5"), make_loss("normsv5", memory_mib=1)
    assert len(list(many_tiles.rest_tiles(views))) > len(list(one_tile.rest_tiles(views)))
    for a, b in zip(rank_from_other_views(one_tile, views), rank_from_other_views(many_tiles, views), strict=True):
        assert torch.equal(expected_ranks(a), expected_ranks(b))


def pair_score(name: str, sample: torch.Tensor) -> float:
    """(n, F) normalised views of one sample -> the sum over directions of its score against itself."""
    return float(sum(direction[0, 0] for direction in oracles.MATRICES[name](sample[:, None])))


def brute_force(name: str, views: torch.Tensor) -> torch.Tensor:
    """(n, N, F) -> (n, N): for each view, the expected rank of each row among all; candidates are scored singly."""
    rows = oracles.rows_of(views)
    n, size, _ = rows.shape
    ranks_of_views = torch.empty(n, size, dtype=torch.float64)
    for a in range(n):
        for i in range(size):
            samples = rows[:, i].expand(size, n, -1).clone()
            samples[:, a] = rows[a]
            if name in oracles.MATRICES:
                scores = torch.tensor([pair_score(name, sample) for sample in samples], dtype=torch.float64)
            else:
                scores = oracles.SCORES["einsum" if name == "symile" else name](samples)
            better, equal = (scores > scores[i] + 1e-10).sum(), ((scores - scores[i]).abs() <= 1e-10).sum()
            ranks_of_views[a, i] = better + (equal + 1) / 2
    return ranks_of_views


@pytest.mark.parametrize(
    "name",
    [
        *("einsum", "gram", "pairwise_clip"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("symile", "normsv5", "stable_cosine", "norms", "loss1", "normsv9")
        ),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("stock", "normsvc", "siglip")),
    ],
)
def test_joint_recall_is_that_of_a_brute_force_evaluation(name):
    """50 samples, one loss of each family and kind."""
    views = views_of(2 if name in oracles.TWO_VIEWS else 4, 50)
    ranked = brute_force(name, views)
    figures = joint_recalls(rank_from_other_views(make_loss(name), views))
    for k in (1, 5, 10):
        hit = (ranked <= k).double().mean(dim=1)
        assert figures[f"joint_recall@{k}"] == pytest.approx(hit[0].item(), abs=1e-12)
        assert figures[f"joint_recall_all@{k}"] == pytest.approx(hit.mean().item(), abs=1e-12)
    assert 0 < figures["joint_recall@10"] < 1


@pytest.mark.parametrize("name", MATRICES)
def test_scores_of_pairs_are_summed(name):
    """Compares each score of a tile with the score of the sample alone."""
    views = views_of(2 if name in oracles.TWO_VIEWS else 3, 7)
    rows = oracles.rows_of(views)
    for a, tile, scores in make_loss(name).rest_tiles(views):
        for i in range(tile.start, tile.stop):
            for c in range(7):
                sample = rows[:, i].clone()
                sample[a] = rows[a, c]
                assert scores[i - tile.start, c].item() == pytest.approx(
                    pair_score(name, sample), rel=1e-7, abs=1e-7
                ), (a, i, c)


def test_ties_count_as_the_mean_over_their_orders():
    """All 8 rows are equal: each is first in one eighth of the orders."""
    figures = joint_recalls(rank_from_other_views(make_loss("norms"), torch.ones(3, 8, 5)))
    assert figures["joint_recall@1"] == pytest.approx(1 / 8)
    assert figures["joint_recall_all@5"] == pytest.approx(5 / 8)


def test_views_that_the_loss_does_not_read_do_not_count():
    views = views_of(4, 20)
    assert joint_recalls(rank_from_other_views(make_loss("stock"), views)) == joint_recalls(
        rank_from_other_views(make_loss("stock"), views[:2])
    )


def test_options_of_the_loss_do_not_matter():
    """Soft targets and masks change the weights of scores in training, and not the scores."""
    views = views_of(3, 5)
    plain = rank_from_other_views(make_loss("norms"), views)
    for options in ({"targets": "soft"}, {"mask": "sigmoid"}, {"mask": "extremes"}):
        for a, b in zip(
            plain, rank_from_other_views(make_loss("norms", views=3, batch_size=5, **options), views), strict=True
        ):
            assert torch.equal(expected_ranks(a), expected_ranks(b))
