"""Geometry and drift of features against closed forms and loops."""

from __future__ import annotations

import math

import pytest
import torch

from model.analysis.geometry import (
    alignment,
    drift_columns,
    effective_rank,
    geometry,
    geometry_columns,
    mean_similarity,
    modality_gap,
    uniformity,
    unit,
)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_alignment_closed_forms():
    """Equal 0, orthogonal 2, opposite 4."""
    eye = torch.eye(5, dtype=torch.float64)
    assert [alignment(eye, other) for other in (eye, eye.roll(1, 0), -eye)] == pytest.approx([0, 2, 4])


def test_uniformity_closed_forms():
    """All equal: log 1. Orthogonal: |x - y|^2 = 2. Two opposite points: |x - y|^2 = 4. One point: no pair."""
    eye = torch.eye(7, dtype=torch.float64)
    assert uniformity(eye[:1].expand(6, 7)) == pytest.approx(0, abs=1e-12)
    assert uniformity(eye) == pytest.approx(-4)
    assert uniformity(eye, t=1) == pytest.approx(-2)
    assert uniformity(torch.cat([eye[:1], -eye[:1]])) == pytest.approx(-8)
    assert math.isnan(uniformity(eye[:1]))


def test_uniformity_in_tiles_equals_a_loop():
    features = unit(draw(23, 4))
    pairs = [math.exp(-2 * (a - b).square().sum().item()) for i, a in enumerate(features) for b in features[:i]]
    assert uniformity(features, cells=50) == pytest.approx(math.log(sum(pairs) / len(pairs)))


def test_effective_rank_closed_forms():
    """D equal singular values: D. One: 1. Values 3 and 1 (nine rows e1, one e2): shares 3/4 and 1/4."""
    eye = torch.eye(6, dtype=torch.float64)
    assert effective_rank(torch.cat([eye, -eye])) == pytest.approx(6)
    assert effective_rank(eye[:1].expand(4, 6)) == pytest.approx(1)
    two = torch.cat([eye[:1].expand(9, 6), eye[1:2]])
    assert effective_rank(two) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
    assert effective_rank(draw(3, 50)) <= 3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_view_that_is_not_finite_does_not_change_the_figures_of_others(bad):
    views = draw(2, 8, 3)
    views[0, 2, 1] = bad
    figures = geometry(views, ["image", "caption_1"])
    assert math.isnan(figures["effective_rank"]["image"])
    assert math.isfinite(figures["effective_rank"]["caption_1"])
    assert math.isnan(effective_rank(torch.zeros(4, 3)))


def test_modality_gap_closed_forms():
    eye = torch.eye(3, dtype=torch.float64)
    assert modality_gap(eye[:1].expand(4, 3), -eye[:1].expand(4, 3)) == pytest.approx(2)
    assert modality_gap(eye, eye.roll(1, 0)) == pytest.approx(0, abs=1e-12)


def test_mean_similarity_equals_a_loop():
    features = unit(draw(9, 4))
    pairs = [(a @ b).item() for i, a in enumerate(features) for b in features[:i]]
    assert mean_similarity(features) == pytest.approx(sum(pairs) / len(pairs))
    assert mean_similarity(features[:1].expand(5, 4)) == pytest.approx(1)


def test_geometry_does_not_depend_on_lengths():
    views = draw(3, 10, 5)
    names = ["image", "caption_1", "decoded_2"]
    columns = geometry_columns(geometry(views, names))
    scaled = geometry_columns(geometry(views * torch.arange(1, 11, dtype=torch.float64)[:, None], names))
    assert scaled == pytest.approx(columns)
    assert {
        "geometry/alignment/caption_1~decoded_2",
        "geometry/uniformity/image",
        "geometry/modality_gap/decoded_2",
    } < columns.keys()
    assert "geometry/modality_gap/image" not in columns
    assert len(columns) == 3 + 3 + 3 + 2


def test_drift_by_hand():
    """Lengths 3 and 4; one sample keeps its direction, the other turns by 90 degrees."""
    views = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    before = torch.tensor([[[1.0, 0.0], [2.0, 0.0]]])
    columns = drift_columns(views, before, ["image"])
    assert columns == pytest.approx(
        {"drift/image/norm": 3.5, "drift/image/mean_similarity": 0, "drift/image/cosine_to_previous": 0.5}
    )
    assert "drift/image/cosine_to_previous" not in drift_columns(views, None, ["image"])
    assert "drift/image/cosine_to_previous" not in drift_columns(views, before[:, :1], ["image"])
