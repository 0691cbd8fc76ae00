"""data=scenes: pictures of one to three objects with five captions each. They are drawn when a batch needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from model.config.schema import DataConfig
from model.data.crops import Crop, crop_squares
from model.data.part_report import PartReport
from model.data.random_numbers import uniform
from model.data.scenes_captions import SceneObject, captions
from model.data.scenes_drawing import scene_drawing
from model.data.scenes_layout import COLOURS, SHAPES, Layout, description, sample_split
from model.data.source import SYMMETRIC, Source, SourceOptions, SplitSizes
from model.errors import ConfigError, require

# Random streams of the pixels and of the wording of captions. `scenes_layout` has those of the scenes.
PICTURE, WORDING = 11, 12
# Texts for a picture with a shape.
PROMPTS = ("a {}", "{}", "just one {}")


class Scenes:
    """Source of drawn scenes, see `Source`. A label is the shape of the first object in reading order."""

    captions = 5
    class_names = SHAPES
    prompts = tuple(tuple(template.format(shape) for template in PROMPTS) for shape in SHAPES)
    normalization = SYMMETRIC
    record = None
    part_reports: ClassVar[dict[str, PartReport]] = {}

    def __init__(self, sizes: SplitSizes, *, image_size: int, seed: int) -> None:
        """sizes: their `train` is a number; image_size: width and height of a picture in pixels; seed: decides the
        training scenes. Validation and test scenes do not depend on it.
        """
        self._layouts = {split: sample_split(split, size, seed) for split, size in sizes._asdict().items()}
        self._keys: dict[str, tuple[int, ...]] = {"train": (0, seed), "val": (1,), "test": (2,)}
        self._drawing = scene_drawing(image_size)

    def files(self, split: str) -> None:
        """Returns None: the pictures are drawn."""

    def size(self, split: str) -> int:
        """Returns the number of scenes in `split`."""
        return len(self._layouts[split])

    def images(self, split: str, indices: Sequence[int], crops: Sequence[Crop] | None = None) -> Tensor:
        """Returns (B, 3, H, W) uint8."""
        rows = np.asarray(indices)
        drawn = self._drawing.draw(self._layouts[split].rows(rows), (PICTURE, *self._keys[split]), rows)
        return crop_squares(torch.from_numpy(drawn), crops)

    def texts(self, split: str, indices: Sequence[int]) -> list[list[str]]:
        """Returns five captions for each row."""
        rows = np.asarray(indices)
        choices = (uniform((WORDING, *self._keys[split]), rows, self.captions) * 2**20).astype(np.int64).tolist()
        scenes = objects_of(self._layouts[split].rows(rows))
        return [captions(objects, choice) for objects, choice in zip(scenes, choices, strict=True)]

    def labels(self, split: str, indices: Sequence[int]) -> Tensor:
        """Returns the shape of the first object, (B,) int64."""
        return torch.from_numpy(self._layouts[split].shape[np.asarray(indices), 0])

    def matches(self, split: str) -> Tensor:
        """Returns (size,) int64. Caption 1 states everything but sizes, so it is true for scenes that differ only in
        them.
        """
        _, group, members = np.unique(
            description(self._layouts[split], sizes=False), return_inverse=True, return_counts=True
        )
        return torch.from_numpy(members[group])

    def objects(self, split: str, index: int) -> list[SceneObject]:
        """Returns the objects of one scene, in reading order."""
        return objects_of(self._layouts[split].rows(np.array([index])))[0]


def objects_of(layout: Layout) -> list[list[SceneObject]]:
    """Returns the objects of each scene, as words."""
    rows = zip(*(field.tolist() for field in layout), strict=True)
    return [
        [SceneObject(SHAPES[shape[i]], COLOURS[colour[i]], size[i], cell[i]) for i in range(count)]
        for count, shape, colour, size, cell in rows
    ]


def check(config: DataConfig) -> None:
    """Raises ConfigError if the number of training scenes is null, or if there are not so many captions."""
    if config.train_size is None:
        raise ConfigError(
            "data.train_size=null is not possible with data=scenes, which has no end; allowed: a number of scenes"
        )
    require(
        1 <= config.captions <= Scenes.captions,
        "data.captions",
        config.captions,
        "is not what scenes have",
        f"1 to {Scenes.captions}",
    )


def make(config: DataConfig, options: SourceOptions) -> Source:
    """Makes the source that `config` (conf/data/scenes.yaml) describes."""
    return Scenes(SplitSizes.from_config(config), image_size=options.image_size, seed=options.seed)
