"""From the rows of a batch to the batch, all at once. Shapes: B rows, K captions, T tokens, H x W pixels."""

from __future__ import annotations

import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.batch import Batch
from model.data.sampler import Rows
from model.data.source import Source
from model.data.tokenizer import encode


class BatchDataset:
    """A dataset whose item is a whole batch: drawing and encoding are fast for many rows, and the order comes from outside."""

    def __init__(self, source: Source, split: str, tokenizer, *, captions: int, context_length: int, training: bool) -> None:
        """`captions`: how many of each picture are encoded; `training`: pictures are varied from epoch to epoch where the source does so."""
        self.source, self.split, self.tokenizer, self.training = source, split, tokenizer, training
        self.captions, self.context_length = captions, context_length
        mean, deviation = (255 * torch.tensor(values)[:, None, None] for values in source.normalization)
        self.mean, self.scale = mean, 1 / deviation
        # Every caption is encoded once in a process: with workers, once an epoch.
        self.tokens = torch.empty(source.size(split), captions, context_length, dtype=torch.int32)
        self.encoded = torch.zeros(source.size(split), dtype=torch.bool)

    def __getitem__(self, rows: Rows) -> Batch:
        """The batch of `rows`."""
        images = self.source.images(self.split, rows.indices, rows.epoch if self.training else None)
        return Batch(
            images.float().sub_(self.mean).mul_(self.scale),
            self._captions(rows.indices),
            self.source.labels(self.split, rows.indices),
            torch.from_numpy(rows.indices).clone(),
        )

    def _captions(self, indices: NDArray) -> Tensor:
        """(B, K, T) int64."""
        new = indices[~self.encoded[indices].numpy()]
        if len(new):
            texts = [text for captions in self.source.texts(self.split, new) for text in captions[: self.captions]]
            self.tokens[new] = encode(self.tokenizer, texts, self.context_length).int().unflatten(0, (len(new), self.captions))
            self.encoded[new] = True
        return self.tokens[indices].long()
