"""Makes a whole batch from its rows. Shapes: B rows, K captions, T tokens, H x W pixels."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from model.data.batch import Batch
from model.data.random_numbers import uniform
from model.data.sampler import BatchRows
from model.data.source import Source, UnreadablePictures
from model.data.tokenizer import encode
from model.data.transforms import Transforms

log = logging.getLogger(__name__)
# The random stream of the order of captions.
CAPTION_ORDER = 22


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
        seed: int = 0,
        transforms: Transforms | None = None,
        sampled_from: int | None = None,
    ) -> None:
        """captions: number of captions of each picture in a batch; context_length: tokens of a caption; training:
        whether the following three have an effect. seed: of the order of captions; transforms: the random changes of
        pictures; sampled_from: the number of captions of a picture from which those of a batch are chosen at random
        for each row and epoch; None: the first captions, in their order.
        """
        self.source, self.split, self.tokenizer, self.training = source, split, tokenizer, training
        self.captions, self.context_length, self.seed = captions, context_length, seed
        self.transforms = transforms if training else None
        self.samples, self.kept = training and sampled_from is not None, sampled_from or captions
        mean, deviation = (255 * torch.tensor(values)[:, None, None] for values in source.normalization)
        self.mean, self.scale = mean, 1 / deviation
        # Each caption is encoded once. Workers, which are new in every epoch, start with a copy of both tensors.
        self.tokens = torch.empty(source.size(split), self.kept, context_length, dtype=torch.int32)
        self.encoded = torch.zeros(source.size(split), self.kept, dtype=torch.bool)
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
                images = self._images(rows.epoch, indices)
            except UnreadablePictures as unreadable:
                if not self.training:
                    return UnreadableBatch(next(iter(unreadable.reasons.values())), len(unreadable.reasons))
                self._report(unreadable)
                positions = list(unreadable.reasons)
                indices[positions] = (indices[positions] + 1) % size
                continue
            return Batch(
                images.sub_(self.mean).mul_(self.scale),
                self._captions(rows.epoch, indices),
                self.source.labels(self.split, indices),
                torch.from_numpy(indices),
            )
        return UnreadableBatch("no picture of the split can be read", len(indices))

    def remember_captions(self, epoch: int, batch: Batch) -> None:
        """Keeps the encoded captions of a batch that a worker has made in `epoch`, for the workers of later epochs."""
        places = batch.indices[:, None], self.caption_order(epoch, batch.indices.numpy())
        new = ~self.encoded[places]
        if new.any():
            self.tokens[places] = batch.captions.int()
            self.encoded[places] = True

    def caption_order(self, epoch: int, indices: NDArray) -> Tensor:
        """Returns which captions of the rows a batch has, (B, K) int64."""
        if not self.samples:
            return torch.arange(self.captions).expand(len(indices), -1)
        numbers = uniform((CAPTION_ORDER, self.seed, epoch), indices, self.kept)
        return torch.from_numpy(np.argsort(numbers, axis=1, kind="stable")[:, : self.captions])

    def _images(self, epoch: int, indices: NDArray) -> Tensor:
        """Returns the pictures of a batch, (B, 3, H, W) float32 from 0 to 255, with the changes of an epoch."""
        rows = indices.tolist()
        if self.transforms is None:
            return self.source.images(self.split, rows).float()
        pictures = self.source.images(self.split, rows, self.transforms.crops(epoch, indices))
        return self.transforms.change(pictures, epoch, indices)

    def _report(self, unreadable: UnreadablePictures) -> None:
        """Logs each reason once in a process."""
        for reason in unreadable.reasons.values():
            if reason not in self._reported:
                self._reported.add(reason)
                log.warning("%s; from now on the next readable row replaces its row", reason)

    def share_captions(self, other: BatchDataset) -> None:
        """Uses the encoded captions of another dataset of the same split, which also gets those of this dataset."""
        self.tokens, self.encoded = other.tokens, other.encoded

    def with_captions(self, captions: int) -> BatchDataset:
        """Returns this dataset with only the first `captions` captions of each picture, for evaluation. Both use the
        same encoded captions.
        """
        fewer = copy.copy(self)
        fewer.captions = captions
        return fewer

    def _captions(self, epoch: int, indices: NDArray) -> Tensor:
        """Returns the token ids of the captions, (B, K, T) int64."""
        order = self.caption_order(epoch, indices)
        places = torch.from_numpy(indices)[:, None], order
        new = ~self.encoded[places]
        rows = torch.nonzero(new.any(1)).flatten()
        if len(rows):
            texts = self.source.texts(self.split, indices[rows.numpy()])
            wanted = [
                captions[place]
                for captions, chosen, missing in zip(texts, order[rows].tolist(), new[rows].tolist(), strict=True)
                for place, lacks in zip(chosen, missing, strict=True)
                if lacks
            ]
            tokens = encode(self.tokenizer, wanted, self.context_length).int()
            at, column = torch.nonzero(new, as_tuple=True)
            places_new = torch.from_numpy(indices)[at], order[at, column]
            self.tokens[places_new] = tokens
            self.encoded[places_new] = True
        return self.tokens[places].long()
