"""Finding a view from the others, against the scores of all tuples."""

from __future__ import annotations

import pytest
import torch

from model.analysis.rest import rest_places
from model.analysis.retrieval import ranks
from model.losses import available, make_loss
from model.losses.loss import TupleLoss

TUPLE_LOSSES = [name for name in available() if isinstance(make_loss(name), TupleLoss)]


def views_of(n: int, size: int, seed: int = 0) -> torch.Tensor:
    """Related views, float64."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(size, 5, generator=generator, dtype=torch.float64)
    return base + torch.randn(n, size, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", TUPLE_LOSSES)
@pytest.mark.parametrize("n", [3, 4])
def test_ranks_are_those_of_the_dense_scores(name, n):
    """Row i of every view but a against each row of a, read from the (N,)*n scores."""
    views = views_of(n, 6)
    scores = make_loss("einsum" if name == "symile" else name).score(views)
    found = rest_places(make_loss(name), views)
    for a in range(n):
        line = torch.stack([scores[tuple(slice(None) if k == a else i for k in range(n))] for i in range(6)])
        expected = [1 + sum(x > line[i, i] + 1e-12 for x in line[i]) for i in range(6)]
        assert ranks(found[a]).tolist() == pytest.approx([float(rank) for rank in expected]), a
    assert any(rank > 1 for rank in ranks(found[0]))


def test_tiles_of_a_small_budget_change_nothing():
    views = views_of(3, 300).float()
    whole, tiled = make_loss("normsv5"), make_loss("normsv5", memory_mib=1)
    assert len(list(tiled.rest_tiles(views))) > len(list(whole.rest_tiles(views)))
    for one, other in zip(rest_places(whole, views), rest_places(tiled, views), strict=True):
        assert torch.equal(ranks(one), ranks(other))


@pytest.mark.parametrize("name", ["stock", "pairwise", "siglip", "stable_cosine"])
def test_scores_of_pairs_find_no_view(name):
    assert rest_places(make_loss(name), views_of(3, 4)) is None


def test_options_of_the_loss_do_not_matter():
    """Soft targets and masks weigh scores in training; the score is the same."""
    views = views_of(3, 5)
    plain = rest_places(make_loss("norms"), views)
    for options in ({"targets": "soft"}, {"mask": "sigmoid"}, {"mask": "extremes"}):
        for one, other in zip(plain, rest_places(make_loss("norms", views=3, batch_size=5, **options), views), strict=True):
            assert torch.equal(ranks(one), ranks(other))
