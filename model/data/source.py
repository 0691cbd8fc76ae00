"""What a data source is, and how far its captions can tell its pictures apart. Shapes: B rows, H x W pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from model.data.pictures import Facts
from model.data.tally import Tally

SPLITS = ("train", "val", "test")
# Pixel mean and deviation (fractions of 255) that map 0 … 255 to -1 … 1.
SYMMETRIC = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class PicturesLost(Exception):
    """Pictures that could be read at the start cannot be read now."""

    def __init__(self, reasons: dict[int, str]) -> None:
        """reasons: position in the `indices` that were asked for -> the file and what is wrong with it."""
        super().__init__(reasons)
        self.reasons = reasons


class ForRun(NamedTuple):
    """Facts about the run for which a source is made."""

    image_size: int
    """Pixels of each side of a picture."""
    seed: int
    record: dict[str, Any] | None = None
    """The record of an earlier source of the same files, whose rows this source must have too; None for a new run."""
    progress_bar: bool = True
    """Whether a terminal may show a progress bar while files are examined."""


class Source(Protocol):
    """Pictures with captions in three disjoint splits. `split` is one of `SPLITS`, `indices` are positions in it."""

    captions: int
    """Number of captions of each picture."""
    class_names: tuple[str, ...] | None
    """The classes that `labels` index; None where the data has no classes."""
    prompts: tuple[tuple[str, ...], ...] | None
    """For each class, texts that name it in the words of the captions; None where the data has no classes, or no words
    for them.
    """
    normalization: tuple[tuple[float, float, float], tuple[float, float, float]]
    """Mean and deviation of each colour, as fractions of 255."""
    record: dict[str, Any] | None
    """Plain data that decides which rows there are and is kept with the run. A continued run, and every further
    process, has the same rows with it, even if the files have changed. None where the configuration alone decides.
    """
    tallies: dict[str, Tally]
    """For each part of the files, what is used and what is left out; empty for sources that draw their pictures."""

    def files(self, split: str) -> list[Facts] | None:
        """Facts about the picture file of each row of `split`; None where no files were examined."""

    def size(self, split: str) -> int:
        """Pictures in `split`."""

    def images(self, split: str, indices: Sequence[int], epoch: int | None = None) -> Tensor:
        """(B, 3, H, W) uint8. `epoch`: the epoch of training, with which sources that vary their pictures do so; None:
        the unchanged pictures. Raises PicturesLost where files can no longer be read.
        """

    def texts(self, split: str, indices: Sequence[int]) -> list[list[str]]:
        """For each row its captions, in a fixed order."""

    def labels(self, split: str, indices: Sequence[int]) -> Tensor | None:
        """(B,) int64, -1 for a row without a class; None where the data has no classes."""

    def fits(self, split: str) -> Tensor | None:
        """(size,) int64: the number of pictures of `split` of which the row's caption 1 is true, its own picture
        included; None where only people can tell.
        """


def recall_ceiling(fits: Tensor, k: int) -> float:
    """The highest recall@k, a fraction, that the captions allow: a caption true of m pictures finds its own among the
    first k with probability min(1, k / m) at best.

    fits: (N,) counts, each 1 or more. Raises ValueError when there are none, or a count is below 1.
    """
    if len(fits) == 0 or int(fits.min()) < 1:
        raise ValueError(f"fits={fits.tolist()[:5]} is not a list of counts; allowed: at least one row, each 1 or more")
    return float(torch.clamp(k / fits.double(), max=1.0).mean())
