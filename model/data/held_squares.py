"""What the sources have in common that hold all their pictures in memory, as squares on white."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from torch import Tensor

from model.data.crops import Crop, crop_squares
from model.data.part_report import PartReport
from model.data.source import SYMMETRIC


class HeldSquares:
    """The methods of `Source` for N pictures with texts and classes, which are read when the source is made."""

    normalization = SYMMETRIC
    record = None
    part_reports: ClassVar[dict[str, PartReport]] = {}

    def __init__(
        self, pictures: Tensor, texts: Sequence[list[str]], classes: Tensor, splits: Mapping[str, Sequence[int]]
    ) -> None:
        """pictures: (N, 3, H, W) uint8; texts: the captions of each; classes: (N,) int64; splits: split -> its rows."""
        self._pictures, self._texts, self._classes = pictures, texts, classes
        self._rows = {split: np.array(rows) for split, rows in splits.items()}

    def files(self, split: str) -> None:
        """Returns None: no file is read after the source was made."""

    def size(self, split: str) -> int:
        """Returns the number of pictures in `split`."""
        return len(self._rows[split])

    def images(self, split: str, indices: Sequence[int], crops: Sequence[Crop] | None = None) -> Tensor:
        """Returns (B, 3, H, W) uint8, on white."""
        return crop_squares(self._pictures[self._rows[split][np.asarray(indices)]], crops)

    def texts(self, split: str, indices: Sequence[int]) -> list[list[str]]:
        """Returns the captions of each row."""
        return [self._texts[row] for row in self._rows[split][np.asarray(indices)]]

    def labels(self, split: str, indices: Sequence[int]) -> Tensor:
        """Returns the class of each row, (B,) int64."""
        return self._classes[self._rows[split][np.asarray(indices)]]

    def matches(self, split: str) -> None:
        """Returns None: only people can tell for how many pictures a caption is true."""
