"""data=coco: the images and captions of a local folder in COCO's format, of 2014 or 2017."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.data.coco_files import Part, Row, class_names, parts, usable_rows
from model.data.sizes import limited
from model.errors import at_least, one_of

YEARS = ("2014", "2017")
# Mean and deviation of the pixels that the published CLIP models were trained on.
CLIP_PIXELS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
# What a photograph of a thing may be called, as captions do.
PROMPTS = ("a photo of {}", "{}", "there is {} in this picture", "a close up of {}", "a picture with {} in the background")


class Coco:
    """See `Source`. Training images are those of train, validation and test images different ones of val.

    A label is the category of an image's largest instance, -1 where it has none.
    """

    normalization = CLIP_PIXELS

    def __init__(self, folder: dict[str, Part], sizes: dict[str, int | None], *, captions: int, image_size: int) -> None:
        """folder: "train" and "val"; sizes: split -> images (train: None for all); captions: images with fewer are left out.

        Every image is decoded once, to leave out those that cannot be. Raises ConfigError where fewer images are left than asked for.
        """
        self.captions, self.image_size = captions, image_size
        self.class_names = class_names(folder["val"])
        self.prompts = self.class_names and tuple(map(prompts_of, self.class_names))
        self._labelled = {"train": folder["train"].instances().is_file(), "val": self.class_names is not None}
        self._labelled["test"] = self._labelled["val"]
        val, test = sizes["val"], sizes["test"]
        held_out = usable_rows(folder["val"], captions, val + test)
        limited("data.val_size", val, len(held_out) - 1, f"images of {folder['val'].name}, one kept for data.test_size")
        limited("data.test_size", test, len(held_out) - val, f"images of {folder['val'].name} after those of data.val_size")
        train = usable_rows(folder["train"], captions, sizes["train"])
        limited("data.train_size", sizes["train"] or 0, len(train), f"images of {folder['train'].name}")
        self._rows: dict[str, list[Row]] = {"train": train, "val": held_out[:val], "test": held_out[val:]}

    def size(self, split: str) -> int:
        """Images in `split`."""
        return len(self._rows[split])

    def images(self, split: str, indices: Sequence[int], epoch: int | None = None) -> Tensor:
        """(B, 3, H, W) uint8; the same in every epoch."""
        return torch.stack([self._image(self._rows[split][index]) for index in indices])

    def _image(self, row: Row) -> Tensor:
        with Image.open(row.file) as image:
            pixels = np.asarray(centre_square(image.convert("RGB"), self.image_size))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1)

    def texts(self, split: str, indices: Sequence[int]) -> list[list[str]]:
        """The captions of each image, in the order of their numbers."""
        return [self._rows[split][index].captions for index in indices]

    def labels(self, split: str, indices: Sequence[int]) -> Tensor | None:
        """(B,) int64; None where the folder has no instances of the split."""
        return torch.tensor([self._rows[split][index].label for index in indices]) if self._labelled[split] else None

    def fits(self, split: str) -> None:
        """Of how many images a caption is true, only people can tell."""


def prompts_of(name: str) -> tuple[str, ...]:
    """Texts that say a thing, with its article."""
    thing = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    return tuple(template.format(thing) for template in PROMPTS)


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """The middle of `image`: its shorter side becomes `size` pixels (bicubic), of the longer one the ends are cut off."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    return image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))


def check(config) -> None:
    """Raises ConfigError where the folder or one of its annotation files is missing."""
    one_of("data.year", config.year, YEARS)
    at_least("data.captions", config.captions, 1)
    parts(config.root, config.year)


def make(config, *, image_size: int, seed: int) -> Coco:
    """The source that `config` (conf/data/coco.yaml) asks for."""
    sizes = {"train": config.train_size, "val": config.val_size, "test": config.test_size}
    return Coco(parts(config.root, config.year), sizes, captions=config.captions, image_size=image_size)
