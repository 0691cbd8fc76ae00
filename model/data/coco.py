"""data=coco: the images and captions of a local folder in COCO's format, of 2014 or 2017."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.data.coco_files import Part, parts
from model.data.coco_rows import Listed, Row, listed_rows, readable_rows, remaining_rows
from model.data.pictures import Facts, NotReadable, read_picture
from model.data.sizes import limited
from model.data.source import ForRun, PicturesLost
from model.data.tally import shared_images
from model.data.text import escaped
from model.errors import at_least, one_of

log = logging.getLogger(__name__)
YEARS = ("2014", "2017")
# Mean and deviation of the pixels that the published CLIP models were trained on.
CLIP_PIXELS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
# The largest ratio of a picture's longer side to its shorter side at which the whole picture is scaled.
LONGEST = 16
# Sentences that captions use for a photograph of a thing.
PROMPTS = (
    "a photo of {}",
    "{}",
    "there is {} in this picture",
    "a close up of {}",
    "a picture with {} in the background",
)


class Coco:
    """See `Source`. Training images are those of train, validation and test images different ones of val.

    A label is the category of an image's largest instance, -1 where it has none.
    """

    normalization = CLIP_PIXELS

    def __init__(
        self,
        folder: dict[str, Part],
        sizes: dict[str, int | None],
        *,
        captions: int,
        image_size: int,
        allow_outside: bool = False,
        record: dict[str, Any] | None = None,
        progress_bar: bool = False,
    ) -> None:
        """folder: the parts "train" and "val"; sizes: split -> images (train: None for all); captions: images with
        fewer are left out; record: the record of a source of the same files. This source then has the same rows, and no
        file is examined; progress_bar: whether a terminal shows one while pictures are decoded.

        Without a record, every picture that is not known from an earlier run is decoded, and pictures that cannot be
        decoded are left out. Raises ConfigError for a damaged annotation file, and where fewer images are left than
        asked for.
        """
        self.captions, self.image_size = captions, image_size
        listed = {
            name: listed_rows(part, captions, allow_outside=allow_outside)
            for name, part in sorted(folder.items(), reverse=True)
        }
        self.class_names = listed["val"].class_names
        self.prompts = self.class_names and tuple(map(prompts_of, self.class_names))
        self._labelled = {"train": listed["train"].class_names is not None, "val": self.class_names is not None}
        self._labelled["test"] = self._labelled["val"]
        val, test = sizes["val"], sizes["test"]
        held_out = rows_of(folder["val"], listed["val"], val + test, record, progress_bar)
        what = f"images of {folder['val'].name}"
        limited(
            "data.val_size",
            val,
            len(held_out) - 1,
            f"{what}, one kept for data.test_size",
            listed["val"].tally.reasons(),
        )
        limited(
            "data.test_size",
            test,
            len(held_out) - val,
            f"{what} after those of data.val_size",
            listed["val"].tally.reasons(),
        )
        train = rows_of(folder["train"], listed["train"], sizes["train"], record, progress_bar)
        limited(
            "data.train_size",
            sizes["train"] or 0,
            len(train),
            f"images of {folder['train'].name}",
            listed["train"].tally.reasons(),
        )
        self._rows: dict[str, list[Row]] = {"train": train, "val": held_out[:val], "test": held_out[val:]}
        self.tallies = {name: listed[name].tally for name in ("train", "val")}
        self.record = record or {"left_out": {tally.name: tally.unreadable for tally in self.tallies.values()}}
        if record is None and (shared := shared_images(self.tallies["train"], self.tallies["val"])):
            log.warning("%s", shared)

    def files(self, split: str) -> list[Facts] | None:
        """What is known of the picture file of each row of `split`; None for a source that was made from a record,
        which examines no file.
        """
        known = [facts for _, facts in self.tallies["train" if split == "train" else "val"].facts]
        first = self.size("val") if split == "test" else 0
        return known[first : first + self.size(split)] or None

    def size(self, split: str) -> int:
        """Images in `split`."""
        return len(self._rows[split])

    def images(self, split: str, indices: Sequence[int], epoch: int | None = None) -> Tensor:
        """(B, 3, H, W) uint8; the same in every epoch. Raises PicturesLost for files that can no longer be read."""
        pictures, lost = [], {}
        for place, index in enumerate(indices):
            try:
                pictures.append(self._image(self._rows[split][index]))
            except NotReadable as reason:
                lost[place] = f"{escaped(self._rows[split][index].file)} {reason}"
        if lost:
            raise PicturesLost(lost)
        return torch.stack(pictures)

    def _image(self, row: Row) -> Tensor:
        pixels = np.asarray(centre_square(read_picture(row.file), self.image_size))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1)

    def texts(self, split: str, indices: Sequence[int]) -> list[list[str]]:
        """The captions of each image, in the order of their numbers."""
        return [self._rows[split][index].captions for index in indices]

    def labels(self, split: str, indices: Sequence[int]) -> Tensor | None:
        """(B,) int64; None where the folder has no instances file for the split."""
        return torch.tensor([self._rows[split][index].label for index in indices]) if self._labelled[split] else None

    def fits(self, split: str) -> None:
        """None: only people can tell of how many images a caption is true."""


def prompts_of(name: str) -> tuple[str, ...]:
    """Texts that name a thing, with its article."""
    thing = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    return tuple(template.format(thing) for template in PROMPTS)


def rows_of(
    part: Part, listed: Listed, wanted: int | None, record: dict[str, Any] | None, progress_bar: bool
) -> list[Row]:
    """The rows of one part: those whose picture can be read, or those of an earlier source."""
    if record is None:
        return readable_rows(part, listed, wanted, progress_bar=progress_bar)
    return remaining_rows(listed, record["left_out"].get(part.name, {}), wanted)


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """The middle of `image`: the shorter side is scaled to `size` pixels (bicubic), and the ends of the longer side are
    cropped.
    """
    image = shortened(image)
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    return image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))


def shortened(image: Image.Image) -> Image.Image:
    """The middle of a picture whose sides differ by more than LONGEST to 1, as scaling the whole picture could need
    gigabytes; others unchanged.
    """
    longest = LONGEST * min(image.size)
    if max(image.size) <= longest:
        return image
    left, top = (max(0, side - longest) // 2 for side in image.size)
    return image.crop((left, top, left + min(image.width, longest), top + min(image.height, longest)))


def check(config) -> None:
    """Raises ConfigError where the folder or one of its annotation files is missing."""
    one_of("data.year", config.year, YEARS)
    at_least("data.captions", config.captions, 1)
    parts(config.root, config.year)


def make(config, run: ForRun) -> Coco:
    """The source that `config` (conf/data/coco.yaml) asks for."""
    sizes = {"train": config.train_size, "val": config.val_size, "test": config.test_size}
    return Coco(
        parts(config.root, config.year),
        sizes,
        captions=config.captions,
        image_size=run.image_size,
        allow_outside=config.allow_outside,
        record=run.record,
        progress_bar=run.progress_bar,
    )
