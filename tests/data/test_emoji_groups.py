"""Unicode's groups of emoji. These tests need no font."""

from __future__ import annotations

from model.data.emoji import all_emoji, names_of
from model.data.emoji_groups import GROUPS, LANGUAGE, group_labels, group_prompts


def test_groups_by_hand():
    known = {
        "🐙": "Animals & Nature",
        "🍎": "Food & Drink",
        "🇨🇦": "Flags",
        "😀": "Smileys & Emotion",
        "👩‍🚀": "People & Body",
        "⚽": "Activities",
    }
    assert [GROUPS[label] for label in group_labels(list(known))] == list(known.values())
    assert group_labels(["no emoji"]).tolist() == [-1]


def test_nearly_every_emoji_has_a_group_and_every_group_has_emoji():
    labels = group_labels(all_emoji())
    assert (labels < 0).float().mean() < 0.03
    assert labels[labels >= 0].bincount(minlength=len(GROUPS)).min() > 50


def test_prompts_are_english_words_of_names_or_none():
    assert group_prompts(["de", "zh"]) is None
    prompts = group_prompts(["de", "en"])
    assert len(prompts) == len(GROUPS)
    words = {word for names in names_of(all_emoji(), [LANGUAGE]) for word in names[0].split()}
    assert {word for texts in prompts for text in texts for word in text.split()} <= words
