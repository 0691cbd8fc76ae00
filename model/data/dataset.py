"""Makes a batch from its rows, all at once. Shapes: B rows, K captions, T tokens, H x W pixels."""

from __future__ import annotations

import logging
from typing import NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.batch import Batch
from model.data.sampler import Rows
from model.data.source import PicturesLost, Source
from model.data.tokenizer import encode

log = logging.getLogger(__name__)


class Lost(NamedTuple):
    """Takes the place of a batch whose pictures can no longer be read. It is a value, as an exception would lose its
    text between processes.
    """

    reason: str
    """The first of these files, and what is wrong with it."""
    count: int


class BatchDataset:
    """A dataset whose item is a whole batch: drawing and encoding are fast for many rows, and the order comes from
    outside.
    """

    def __init__(
        self, source: Source, split: str, tokenizer, *, captions: int, context_length: int, training: bool
    ) -> None:
        """`captions`: how many of each picture are encoded; `training`: whether pictures vary from epoch to epoch, for
        sources that vary them.
        """
        self.source, self.split, self.tokenizer, self.training = source, split, tokenizer, training
        self.captions, self.context_length = captions, context_length
        mean, deviation = (255 * torch.tensor(values)[:, None, None] for values in source.normalization)
        self.mean, self.scale = mean, 1 / deviation
        # Each process encodes each caption once. Every epoch starts new workers.
        self.tokens = torch.empty(source.size(split), captions, context_length, dtype=torch.int32)
        self.encoded = torch.zeros(source.size(split), dtype=torch.bool)
        self._reported: set[str] = set()

    def __getitem__(self, rows: Rows) -> Batch | Lost:
        """The batch of `rows`. In training, a row whose picture can no longer be read is replaced by the next row of
        the split whose picture can be read. In evaluation, the result is `Lost`, because figures of other pictures
        could not be compared.
        """
        indices = rows.indices.copy()
        for _ in range(self.source.size(self.split)):
            try:
                images = self.source.images(self.split, indices, rows.epoch if self.training else None)
            except PicturesLost as lost:
                if not self.training:
                    return Lost(next(iter(lost.reasons.values())), len(lost.reasons))
                self._report(lost)
                places = list(lost.reasons)
                indices[places] = (indices[places] + 1) % self.source.size(self.split)
                continue
            labels = self.source.labels(self.split, indices)
            return Batch(
                images.float().sub_(self.mean).mul_(self.scale),
                self._captions(indices),
                labels,
                torch.from_numpy(indices),
            )
        return Lost("no picture of the split can be read", len(indices))

    def _report(self, lost: PicturesLost) -> None:
        """Logs each reason once in a process."""
        for reason in lost.reasons.values():
            if reason not in self._reported:
                self._reported.add(reason)
                log.warning("%s; from now on the next readable row replaces its row", reason)

    def _captions(self, indices: NDArray) -> Tensor:
        """(B, K, T) int64."""
        new = indices[~self.encoded[indices].numpy()]
        if len(new):
            texts = [text for captions in self.source.texts(self.split, new) for text in captions[: self.captions]]
            self.tokens[new] = (
                encode(self.tokenizer, texts, self.context_length).int().unflatten(0, (len(new), self.captions))
            )
            self.encoded[new] = True
        return self.tokens[indices].long()
