"""The ceiling of recall on counts done by hand."""

from __future__ import annotations

import pytest
import torch

from model.data.source import recall_ceiling
from tests.data.helpers import small_scenes


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


def test_prompts_use_the_words_of_the_captions():
    """So that a tokeniser and a model that were trained on these know them."""
    source = small_scenes(train=300)
    words = {
        word.strip(",;:")
        for captions in source.texts("train", range(300))
        for text in captions
        for word in text.split()
    }
    assert len(source.prompts) == len(source.class_names)
    for name, prompts in zip(source.class_names, source.prompts, strict=True):
        for prompt in prompts:
            assert name in prompt
            assert set(prompt.split()) <= words
