"""data=stamps: the pictures of Tux Paint's stamps, and a sentence about each in several languages."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.config.schema import StampsConfig
from model.data.held_squares import HeldSquares
from model.data.part_report import plural
from model.data.pictures import read_picture
from model.data.pixels import NotReadable
from model.data.source import Source, SourceOptions, SplitSizes, split_ranges
from model.data.stamp_files import FIRST, Stamp, find_folder, read_stamps, with_languages
from model.errors import ConfigError, require

log = logging.getLogger(__name__)
# English words for the categories of Debian's package, as they occur in sentences.
WORDS = {
    "animals": ("An animal.", "A bird.", "A fish."),
    "clothes": ("A hat.", "A shirt.", "A shoe."),
    "food": ("A fruit.", "A vegetable.", "Some food."),
    "hobbies": ("A musical instrument.", "A toy.", "A game."),
    "household": ("A tool.", "A chair.", "A thing of the house."),
    "medical": ("A doctor.", "Medicine."),
    "military": ("A tank.", "A soldier."),
    "naturalforces": ("A storm.", "The weather."),
    "people": ("A person.", "A man.", "A woman."),
    "plants": ("A flower.", "A tree.", "A leaf."),
    "seasonal": ("Christmas.", "Halloween.", "Easter."),
    "space": ("A planet.", "A rocket.", "A star."),
    "sports": ("A ball.", "A sport."),
    "symbols": ("A letter.", "A number.", "A symbol."),
    "town": ("A road sign.", "A building.", "A house."),
    "vehicles": ("A car.", "A truck.", "A ship."),
}


class StampSource(HeldSquares):
    """Source of stamps, see `Source`.

    Caption k is the sentence in language k. A label is the category. The split of a stamp depends on its English
    sentence and the sizes, not on the seed.
    """

    def __init__(self, folder: Path, languages: Sequence[str], sizes: SplitSizes, *, image_size: int) -> None:
        """folder: of the stamps; languages: of the captions; image_size: width and height of a picture in pixels.

        Raises ConfigError for a language that no stamp has, if there are fewer stamps than `sizes` asks for, or if a
        picture cannot be read. Logs what is left out.
        """
        content = read_stamps(folder)
        stamps = sorted(with_languages(content.stamps, languages), key=order_of)
        lacking = len(content.stamps) - len(stamps)
        if lacking:
            log.warning(
                "%s without a sentence in every one of data.languages: left out", plural(lacking, "stamp", "stamps")
            )
        log.info("%d SVG files and %d PNG files without a text are left out", content.drawings, content.without_text)
        self.stamps, self.captions = stamps, len(languages)
        self.class_names = tuple(sorted({stamp.category for stamp in stamps}))
        known = FIRST in languages and all(name in WORDS for name in self.class_names)
        self.prompts = tuple(WORDS[name] for name in self.class_names) if known else None
        splits = split_ranges(len(stamps), sizes, "stamps")
        texts = [[stamp.sentences[language] for language in languages] for stamp in stamps]
        categories = torch.tensor([self.class_names.index(stamp.category) for stamp in stamps])
        pictures = torch.stack([square_picture(stamp.picture, image_size) for stamp in stamps])
        super().__init__(pictures, texts, categories, splits)


def order_of(stamp: Stamp) -> tuple[bytes, str]:
    """Returns the key by which stamps are sorted: an order that looks random but never changes, in which stamps with
    the same English sentence are neighbours.
    """
    sentence = stamp.sentences.get(FIRST, "")
    return hashlib.sha256(sentence.lower().encode()).digest(), f"{stamp.category}/{stamp.picture.name}"


def square_picture(path: Path, size: int) -> Tensor:
    """Returns the whole picture in the middle of a white square, (3, size, size) uint8. Raises ConfigError if it cannot
    be read.
    """
    try:
        picture = read_picture(path)
    except NotReadable as reason:
        raise ConfigError(f"data=stamps: {path} {reason}; allowed: a folder whose pictures can be read") from reason
    side = max(picture.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    scaled = square.resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(scaled)).permute(2, 0, 1)


def check(config: StampsConfig) -> None:
    """Raises ConfigError if the folder is missing, or if the languages are not as many as the captions."""
    require(len(config.languages) > 0, "data.languages", "[]", "names no language", "one or more")
    problem = "is not the number of data.languages"
    require(
        config.captions == len(config.languages), "data.captions", config.captions, problem, f"{len(config.languages)}"
    )
    find_folder(config.root)


def make(config: StampsConfig, options: SourceOptions) -> Source:
    """Makes the source that `config` (conf/data/stamps.yaml) describes."""
    sizes = SplitSizes.from_config(config)
    return StampSource(find_folder(config.root), config.languages, sizes, image_size=options.image_size)
