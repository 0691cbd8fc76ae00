"""data=coco: the images and captions of a local folder in COCO's format, of 2014 or 2017."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from model.config.schema import CocoConfig
from model.data.coco_files import CocoPart, coco_parts
from model.data.coco_rows import ImageRow, PartContent, read_parts, readable_rows, recorded_rows
from model.data.crops import Crop
from model.data.part_report import shared_images
from model.data.pictures import PictureFacts
from model.data.source import SPLITS, Source, SourceOptions, SplitSizes, check_available
from model.data.squares import CLIP_PIXELS, PictureFile, file_at, read_squares
from model.errors import at_least, one_of

log = logging.getLogger(__name__)
YEARS = ("2014", "2017")
# Sentences that captions use for a photograph of an object.
PROMPTS = (
    "a photo of {}",
    "{}",
    "there is {} in this picture",
    "a close up of {}",
    "a picture with {} in the background",
)


class Coco:
    """Source of the images of a COCO folder, see `Source`.

    The training split takes images of the part train. The validation split takes the first images of the part val, the
    test split the next ones. A label is the category of an image's largest instance, -1 if it has none.
    """

    normalization = CLIP_PIXELS

    def __init__(
        self,
        parts: Mapping[str, CocoPart],
        sizes: SplitSizes,
        *,
        captions: int,
        image_size: int,
        allow_outside: bool = False,
        record: dict[str, Any] | None = None,
        progress_bar: bool = False,
    ) -> None:
        """Reads the annotation files and examines the picture files.

        parts: the parts "train" and "val"; captions: images with fewer captions are left out; image_size: width and
        height of a picture in pixels; allow_outside: whether files outside the image folders are used; record: the
        record of a source of the same files: this source then has the same rows and examines no file; progress_bar:
        whether a terminal shows a progress bar while pictures are decoded.

        Without a record, every picture that no earlier run has examined is decoded, and pictures that cannot be decoded
        are left out. Raises DamagedAnnotations for damaged annotation files, and ConfigError if fewer images remain
        than `sizes` asks for.
        """
        self.captions, self.image_size = captions, image_size
        contents = read_parts(parts, captions, allow_outside=allow_outside)
        self.class_names = contents["val"].class_names
        self.prompts = None if self.class_names is None else tuple(map(prompts_for, self.class_names))
        self._has_labels = {split: contents[part_of(split)].class_names is not None for split in SPLITS}
        left_out = None if record is None else record["left_out"]
        held_out = select_rows(parts["val"], contents["val"], sizes.val + sizes.test, left_out, progress_bar)
        check_held_out(contents["val"], len(held_out), sizes)
        train = select_rows(parts["train"], contents["train"], sizes.train, left_out, progress_bar)
        check_train(contents["train"], len(train), sizes)
        self._rows = {"train": train, "val": held_out[: sizes.val], "test": held_out[sizes.val :]}
        self.part_reports = {name: content.report for name, content in contents.items()}
        self.record: dict[str, Any] | None = record or {
            "left_out": {report.name: report.unreadable for report in self.part_reports.values()}
        }
        if record is None and (shared := shared_images(self.part_reports["train"], self.part_reports["val"])):
            log.warning("%s", shared)

    def files(self, split: str) -> list[PictureFacts] | None:
        """Returns facts about the picture file of each row. None for a source that was made from a record."""
        facts = [fact for _, fact in self.part_reports[part_of(split)].facts]
        first = self.size("val") if split == "test" else 0
        return facts[first : first + self.size(split)] or None

    def size(self, split: str) -> int:
        """Returns the number of images in `split`."""
        return len(self._rows[split])

    def images(self, split: str, indices: Sequence[int], crops: Sequence[Crop] | None = None) -> Tensor:
        """Returns (B, 3, H, W) uint8. Raises UnreadablePictures for files that can no longer be read."""
        return read_squares(self.picture_files(split, indices), self.image_size, crops)

    def picture_files(self, split: str, indices: Sequence[int]) -> list[PictureFile]:
        """Returns the file of each picture."""
        return [file_at(self._rows[split][index].file) for index in indices]

    def texts(self, split: str, indices: Sequence[int]) -> list[list[str]]:
        """Returns the captions of each image, in the order of their ids."""
        return [self._rows[split][index].captions for index in indices]

    def labels(self, split: str, indices: Sequence[int]) -> Tensor | None:
        """Returns (B,) int64. None if the folder has no instances file for the split."""
        return torch.tensor([self._rows[split][index].label for index in indices]) if self._has_labels[split] else None

    def matches(self, split: str) -> None:
        """Returns None: only people can tell for how many images a caption is true."""


def part_of(split: str) -> str:
    """Returns the name of the part from which a split takes its images."""
    return "train" if split == "train" else "val"


def select_rows(
    part: CocoPart,
    content: PartContent,
    count: int | None,
    left_out: Mapping[str, Mapping[str, str]] | None,
    progress_bar: bool,
) -> list[ImageRow]:
    """Returns the first `count` (None: all) rows of a part that can be used. With `left_out` (name of the part -> file
    -> reason), the record of an earlier source decides, otherwise the files do.
    """
    if left_out is None:
        return readable_rows(part, content, count, progress_bar=progress_bar)
    return recorded_rows(content, left_out.get(part.name, {}), count)


def check_held_out(content: PartContent, available: int, sizes: SplitSizes) -> None:
    """Raises ConfigError if validation and test need more than the `available` images of the part val."""
    what, reasons = f"images of {content.report.name}", content.report.reasons()
    check_available("data.val_size", sizes.val, available - 1, f"{what}, one kept for data.test_size", reasons)
    check_available(
        "data.test_size", sizes.test, available - sizes.val, f"{what} after those of data.val_size", reasons
    )


def check_train(content: PartContent, available: int, sizes: SplitSizes) -> None:
    """Raises ConfigError if training needs more than the `available` images of the part train."""
    what = f"images of {content.report.name}"
    check_available("data.train_size", sizes.train or 0, available, what, content.report.reasons())


def prompts_for(name: str) -> tuple[str, ...]:
    """Returns the prompts for a category. name: of the category, without an article."""
    with_article = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    return tuple(template.format(with_article) for template in PROMPTS)


def check(config: CocoConfig) -> None:
    """Raises ConfigError if the folder or one of its annotation files is missing."""
    one_of("data.year", config.year, YEARS)
    at_least("data.captions", config.captions, 1)
    coco_parts(config.root, config.year)


def make(config: CocoConfig, options: SourceOptions) -> Source:
    """Makes the source that `config` (conf/data/coco.yaml) describes."""
    return Coco(
        coco_parts(config.root, config.year),
        SplitSizes.from_config(config),
        captions=config.captions,
        image_size=options.image_size,
        allow_outside=config.allow_outside,
        record=options.record,
        progress_bar=options.progress_bar,
    )
