"""Makes a whole batch from its rows. Shapes: B rows, K captions, T tokens, H x W pixels."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from model.data.batch import Batch
from model.data.sampler import BatchRows
from model.data.source import Source, UnreadablePictures
from model.data.tokenizer import encode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnreadableBatch:
    """Replaces a batch whose pictures can no longer be read. It is a value and no exception, because an exception would
    lose its text on the way from a worker process.
    """

    reason: str
    """The first of these files, and what is wrong with it."""
    files: int
    """Number of these files."""


class BatchDataset:
    """A dataset whose item is a whole batch, because drawing and encoding are fast for many rows at once. The loader
    decides the order.
    """

    def __init__(
        self,
        source: Source,
        split: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        captions: int,
        context_length: int,
        training: bool,
    ) -> None:
        """captions: number of captions of each picture that are encoded; context_length: tokens of a caption; training:
        whether pictures vary from epoch to epoch, for sources that vary them.
        """
        self.source, self.split, self.tokenizer, self.training = source, split, tokenizer, training
        self.captions, self.context_length = captions, context_length
        mean, deviation = (255 * torch.tensor(values)[:, None, None] for values in source.normalization)
        self.mean, self.scale = mean, 1 / deviation
        # Each caption is encoded once. Workers, which are new in every epoch, start with a copy of both tensors.
        self.tokens = torch.empty(source.size(split), captions, context_length, dtype=torch.int32)
        self.encoded = torch.zeros(source.size(split), dtype=torch.bool)
        self._reported: set[str] = set()

    def __getitem__(self, rows: BatchRows) -> Batch | UnreadableBatch:
        """Returns the batch of `rows`.

        In training, the next row of the split whose picture can be read replaces a row whose picture can no longer be
        read. In evaluation, the result is then an UnreadableBatch, because figures of other pictures could not be
        compared.
        """
        size = self.source.size(self.split)
        indices = rows.indices.copy()
        for _ in range(size):
            try:
                images = self.source.images(self.split, indices, rows.epoch if self.training else None)
            except UnreadablePictures as unreadable:
                if not self.training:
                    return UnreadableBatch(next(iter(unreadable.reasons.values())), len(unreadable.reasons))
                self._report(unreadable)
                positions = list(unreadable.reasons)
                indices[positions] = (indices[positions] + 1) % size
                continue
            return Batch(
                images.float().sub_(self.mean).mul_(self.scale),
                self._captions(indices),
                self.source.labels(self.split, indices),
                torch.from_numpy(indices),
            )
        return UnreadableBatch("no picture of the split can be read", len(indices))

    def remember_captions(self, batch: Batch) -> None:
        """Keeps the encoded captions of a batch that a worker has made, for the workers of later epochs."""
        new = ~self.encoded[batch.indices]
        rows = batch.indices[new]
        self.tokens[rows] = batch.captions[new].int()
        self.encoded[rows] = True

    def _report(self, unreadable: UnreadablePictures) -> None:
        """Logs each reason once in a process."""
        for reason in unreadable.reasons.values():
            if reason not in self._reported:
                self._reported.add(reason)
                log.warning("%s; from now on the next readable row replaces its row", reason)

    def share_captions(self, other: BatchDataset) -> None:
        """Uses the encoded captions of another dataset of the same split, which also gets those of this dataset."""
        self.tokens, self.encoded = other.tokens, other.encoded

    def _captions(self, indices: NDArray) -> Tensor:
        """Returns the token ids of the captions, (B, K, T) int64."""
        new = indices[~self.encoded[indices].numpy()]
        if len(new):
            texts = [text for captions in self.source.texts(self.split, new) for text in captions[: self.captions]]
            tokens = encode(self.tokenizer, texts, self.context_length)
            self.tokens[new] = tokens.int().unflatten(0, (len(new), self.captions))
            self.encoded[new] = True
        return self.tokens[indices].long()
