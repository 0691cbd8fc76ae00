"""The ceiling of recall on counts done by hand."""

from __future__ import annotations

import pytest
import torch

from model.data.source import recall_ceiling


@pytest.mark.parametrize(
    ("fits", "k", "expected"),
    [
        ([1, 2, 4], 1, (1 + 1 / 2 + 1 / 4) / 3),
        ([1, 2, 4], 2, (1 + 1 + 2 / 4) / 3),
        ([1, 2, 4], 5, 1.0),
        ([10, 10], 1, 0.1),
    ],
)
def test_ceiling_by_hand(fits, k, expected):
    assert recall_ceiling(torch.tensor(fits), k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("fits", [[], [1, 0]])
def test_ceiling_of_no_counts_is_refused(fits):
    with pytest.raises(ValueError, match=r"fits=.*allowed"):
        recall_ceiling(torch.tensor(fits), 1)
