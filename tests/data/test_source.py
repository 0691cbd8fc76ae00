"""The ceiling of recall, computed by hand for a few counts, and the words of prompts."""

from __future__ import annotations

import pytest
import torch

from model.data.source import recall_ceiling
from tests.data.helpers import small_scenes


@pytest.mark.parametrize(
    ("matches", "k", "expected"),
    [
        ([1, 2, 4], 1, (1 + 1 / 2 + 1 / 4) / 3),
        ([1, 2, 4], 2, (1 + 1 + 2 / 4) / 3),
        ([1, 2, 4], 5, 1.0),
        ([10, 10], 1, 0.1),
    ],
)
def test_ceiling_by_hand(matches, k, expected):
    assert recall_ceiling(torch.tensor(matches), k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("matches", [[], [1, 0]])
def test_ceiling_of_no_counts_is_refused(matches):
    with pytest.raises(ValueError, match=r"matches=.*allowed"):
        recall_ceiling(torch.tensor(matches), 1)


def test_prompts_use_the_words_of_the_captions():
    """A tokeniser and a model that were trained on the captions therefore know the prompts."""
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
