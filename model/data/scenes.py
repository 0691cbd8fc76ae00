"""data=scenes: pictures of one to three objects with five captions each, drawn when they are asked for; no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from model.data.draws import uniform
from model.data.scenes_captions import Thing, captions
from model.data.scenes_drawing import drawing
from model.data.scenes_layout import COLOURS, SHAPES, Layout, description, draw_split
from model.data.source import SPLITS, SYMMETRIC, ForRun
from model.data.tally import Tally
from model.errors import ConfigError, require

# Random streams, beside those of the scenes themselves.
PICTURE, WORDING = 11, 12
# What a picture with a shape may be called.
PROMPTS = ("a {}", "{}", "just one {}")


class Scenes:
    """See `Source`. A picture's label is the shape of its first object in reading order."""

    captions = 5
    class_names = SHAPES
    prompts = tuple(tuple(template.format(shape) for template in PROMPTS) for shape in SHAPES)
    normalization = SYMMETRIC
    record = None
    tallies: ClassVar[dict[str, Tally]] = {}

    def __init__(self, sizes: dict[str, int], *, image_size: int, seed: int) -> None:
        """sizes: split -> scenes; image_size: pixels of a side; seed: of the training scenes, val and test do not
        depend on it.
        """
        self._layouts = {split: draw_split(split, sizes[split], seed) for split in SPLITS}
        self._keys = {"train": (0, seed), "val": (1,), "test": (2,)}
        self._drawing = drawing(image_size)

    def files(self, split: str) -> None:
        """None: the pictures are drawn."""

    def size(self, split: str) -> int:
        """Scenes in `split`."""
        return len(self._layouts[split])

    def images(self, split: str, indices: Sequence[int], epoch: int | None = None) -> Tensor:
        """(B, 3, H, W) uint8; the same in every epoch."""
        rows = np.asarray(indices)
        return torch.from_numpy(
            self._drawing.draw(self._layouts[split].rows(rows), (PICTURE, *self._keys[split]), rows)
        )

    def texts(self, split: str, indices: Sequence[int]) -> list[list[str]]:
        """Five captions a row."""
        rows = np.asarray(indices)
        picks = (uniform((WORDING, *self._keys[split]), rows, self.captions) * 2**20).astype(np.int64).tolist()
        return [
            captions(things, pick)
            for things, pick in zip(things_of(self._layouts[split].rows(rows)), picks, strict=True)
        ]

    def labels(self, split: str, indices: Sequence[int]) -> Tensor:
        """(B,) int64."""
        return torch.from_numpy(self._layouts[split].shape[np.asarray(indices), 0])

    def fits(self, split: str) -> Tensor:
        """(size,) int64. Caption 1 states everything but sizes, so it is true of the scenes that are equal apart from
        them.
        """
        _, group, members = np.unique(
            description(self._layouts[split], sizes=False), return_inverse=True, return_counts=True
        )
        return torch.from_numpy(members[group])

    def things(self, split: str, index: int) -> list[Thing]:
        """The objects of one scene, in reading order."""
        return things_of(self._layouts[split].rows(np.array([index])))[0]


def things_of(layout: Layout) -> list[list[Thing]]:
    """The objects of each scene, in words."""
    rows = zip(*(field.tolist() for field in layout), strict=True)
    return [
        [Thing(SHAPES[shape[i]], COLOURS[colour[i]], size[i], cell[i]) for i in range(count)]
        for count, shape, colour, size, cell in rows
    ]


def check(config) -> None:
    """Scenes need no files, but a number of them."""
    if config.train_size is None:
        raise ConfigError("data.train_size=null has no end with data=scenes; allowed: a number of scenes")
    require(
        1 <= config.captions <= Scenes.captions,
        "data.captions",
        config.captions,
        "is not what scenes have",
        f"1 to {Scenes.captions}",
    )


def make(config, run: ForRun) -> Scenes:
    """The source that `config` (conf/data/scenes.yaml) asks for."""
    return Scenes(
        {"train": config.train_size, "val": config.val_size, "test": config.test_size},
        image_size=run.image_size,
        seed=run.seed,
    )
