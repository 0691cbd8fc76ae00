"""The interface of a data source, and the sizes of its splits. Shapes: B rows, H x W pixels.

How to add a source `<name>`. Steps 1 to 3 are enough for a source without keys of its own:

1. `model/data/<name>.py`: a class with the attributes and methods of `Source`, and two functions:

   - `check(config) -> None` raises ConfigError if a file or a package is missing or a value is not allowed. It runs
     before anything is read, so it must be fast.
   - `make(config, options) -> Source` makes the source. `config` is the group `data` of the configuration, and
     `options` is a `SourceOptions`. mypy checks that the result has everything that `Source` declares. `make` raises
     ConfigError if there are fewer samples than `config` asks for; `split_ranges` and `check_available` do this for
     sources of a fixed size.

2. `SOURCES` in `model/data/__init__.py`: a line `"<name>": "model.data.<name>"`.
3. `conf/data/<name>.yaml`: the defaults list `_schema`, `_keys`, `_self_`; `name: <name>`; `captions`, the number of
   captions of each picture; and every default that differs from `conf/data/_keys.yaml`. The first line is a comment
   that says what the source is. After a change of a YAML file, `python -m model.config.document` writes
   docs/configuration.md again.
4. Only if the source has keys of its own: a dataclass derived from `DataConfig` in `model/config/schema.py`, registered
   in `SCHEMAS["data"]` as `_schema_<name>`, which the YAML file then lists instead of `_schema`; and each new key in
   `model/config/decisions.py`, which says whether a resumed run may change it.
5. `tests/data/test_<name>.py`.

A source whose pictures are files reads them with `model.data.squares.read_squares`, which raises UnreadablePictures for
files that can no longer be read. Such a source can have the method `picture_files(split, indices)`, which returns a
`PictureFile` for each row, for `python -m model.data.pack` to copy. A source that draws or holds square pictures passes
them through `model.data.crops.crop_squares`; `model.data.held_squares.HeldSquares` does so for pictures in memory. A
source that examines no files has `record = None` and `part_reports = {}`, and `files` returns None.
`model/data/emoji.py` is a short example.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from model.config.schema import DataConfig
from model.data.crops import Crop
from model.data.part_report import PartReport
from model.data.pictures import PictureFacts
from model.errors import ConfigError

SPLITS = ("train", "val", "test")
# Mean and deviation of each colour, as fractions of 255, that map 0 to 255 onto -1 to 1.
SYMMETRIC = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class UnreadablePictures(Exception):
    """Raised by `Source.images` if picture files could be read when the source was made, but cannot be read now."""

    def __init__(self, reasons: dict[int, str]) -> None:
        """reasons: position in the argument `indices` of `Source.images` -> the file and what is wrong with it."""
        super().__init__(reasons)
        self.reasons = reasons


class SplitSizes(NamedTuple):
    """The numbers of samples that the configuration asks for."""

    train: int | None
    """None for all samples that are in neither of the other splits."""
    val: int
    test: int

    @classmethod
    def from_config(cls, config: DataConfig) -> SplitSizes:
        """Reads the sizes from the group `data` of the configuration."""
        return cls(config.train_size, config.val_size, config.test_size)


class SourceOptions(NamedTuple):
    """Values of the run that `make` reads in addition to the group `data` of the configuration."""

    image_size: int
    """Width and height of a picture in pixels."""
    seed: int
    record: dict[str, Any] | None = None
    """`Source.record` of an earlier source of the same files. The new source must have the same rows. None for a new
    run.
    """
    progress_bar: bool = True
    """Whether a terminal may show a progress bar while files are examined."""


class Source(Protocol):
    """Pictures with captions in three disjoint splits.

    `split` is one of `SPLITS`. `indices` are positions in the split, from 0 to `size(split) - 1`.
    """

    @property
    def captions(self) -> int:
        """Number of captions of each picture."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes, which `labels` indexes. None if the data have no classes."""

    @property
    def prompts(self) -> tuple[tuple[str, ...], ...] | None:
        """For each class, texts that name it in the words of the captions. None if the data have no classes, or if the
        captions have no words for them.
        """

    @property
    def normalization(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Mean and deviation of each colour, as fractions of 255. Sources of drawn pictures use `SYMMETRIC`."""

    @property
    def record(self) -> dict[str, Any] | None:
        """Plain data that decide which rows the source has. They are saved with the run and passed to the sources of a
        resumed run and of further processes (`SourceOptions.record`), which then have the same rows even if files have
        changed. None if the configuration alone decides.
        """

    @property
    def part_reports(self) -> dict[str, PartReport]:
        """For each part of the files, what is used and what is left out. Empty if no files are examined."""

    def files(self, split: str) -> Sequence[PictureFacts] | None:
        """Returns facts about the picture file of each row of `split`. None if no files were examined."""

    def size(self, split: str) -> int:
        """Returns the number of pictures in `split`."""

    def images(self, split: str, indices: Sequence[int], crops: Sequence[Crop] | None = None) -> Tensor:
        """Returns pictures as a (B, 3, H, W) uint8 tensor.

        crops: for each row, the part of the picture that is scaled to H x W; None: the middle. `read_squares` and
        `model.data.crops.crop_squares` apply them. Raises UnreadablePictures if files can no longer be read.
        """

    def texts(self, split: str, indices: Sequence[int]) -> list[list[str]]:
        """Returns the captions of each row, in a fixed order."""

    def labels(self, split: str, indices: Sequence[int]) -> Tensor | None:
        """Returns the class of each row: (B,) int64, -1 for a row without a class. None if the data have no classes."""

    def matches(self, split: str) -> Tensor | None:
        """Returns, for each row, the number of pictures of `split` for which caption 1 of the row is true, its own
        picture included: (size,) int64. None if only people can tell.
        """


def split_ranges(count: int, sizes: SplitSizes, what: str) -> dict[str, range]:
    """Divides `count` items among the splits. Returns split -> positions: the first items are those of val, the
    next items those of test, and the items after these those of train.

    Raises ConfigError, which names the key and the number of items, if the sizes exceed `count`. `what` names the
    items in the message.
    """
    check_available("data.val_size", sizes.val, count - 2, what)
    check_available("data.test_size", sizes.test, count - sizes.val - 1, what)
    held_out = sizes.val + sizes.test
    train = count - held_out if sizes.train is None else sizes.train
    check_available("data.train_size", train, count - held_out, what)
    return {"val": range(sizes.val), "test": range(sizes.val, held_out), "train": range(held_out, held_out + train)}


def check_available(key: str, size: int, available: int, what: str, reasons: str = "") -> None:
    """Raises ConfigError if the value `size` of `key` is larger than the number `available`.

    reasons: why no more are available; the message ends with it. If `available` is below 1, the message says that no
    value of `key` is possible.
    """
    if size > available:
        allowed = f"up to {available} {what}" if available > 0 else f"more {what}, as there are too few for any value"
        raise ConfigError(f"{key}={size} is more than there are; allowed: {allowed}{reasons}")


def recall_ceiling(matches: Tensor, k: int) -> float:
    """Returns the highest recall@k, a fraction, that the captions allow. A caption that is true for m pictures ranks
    its own picture among the first k with probability min(1, k / m) at best.

    matches: (N,) counts, each 1 or more. Raises ValueError if there are no counts, or a count is below 1.
    """
    if len(matches) == 0 or int(matches.min()) < 1:
        raise ValueError(
            f"matches={matches.tolist()[:5]} is not a list of counts; allowed: at least one row, each 1 or more"
        )
    return float(torch.clamp(k / matches.double(), max=1.0).mean())
