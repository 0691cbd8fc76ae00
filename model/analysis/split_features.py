"""The features of whole splits, which the parts of analysis.json read. Shapes: n views, N samples, K captions of a
sample, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.analysis.retrieval import MatchCounts, rank_from_other_views
from model.data.batch import Batch
from model.data.module import CaptionData
from model.data.source import Source
from model.data.tokenizer import encode
from model.losses.objective.loss import ContrastiveLoss
from model.views.encoder import ViewEncoder

# The number of texts that go through the text tower together.
TEXTS = 512


class TowerFeatures(NamedTuple):
    """The features of a split by the two CLIP towers alone, and its labels."""

    image: Tensor
    """(N, D)"""
    text: Tensor
    """(N, D), of caption 1."""
    labels: Tensor | None
    """(N,) int64, -1 for a row without a class; None if the data have no classes."""


class SplitFeatures:
    """Computes views, captions and labels of whole splits with one encoder, in float32 on the CPU. Each result is
    computed when it is first needed and then kept.
    """

    def __init__(
        self,
        encoder: ViewEncoder,
        data: CaptionData,
        *,
        to_device: Callable[[Any], Any],
        precision: Callable[[], AbstractContextManager[Any]],
        row_limit: Callable[[str], int | None],
        known_views: Mapping[str, Tensor],
        known_ranks: Mapping[str, Sequence[MatchCounts]],
    ) -> None:
        """to_device: moves a batch or a tensor to the device and dtype of the encoder; precision: the context in which
        the encoder runs, such as autocast; row_limit: split -> the number of its first rows that are read (None: all);
        known_views: split -> views (n, N, D) of its first N rows by the same encoder, which are not computed again;
        known_ranks: split -> the result of `rank_from_other_views` for all its rows, by the same encoder and loss.
        """
        self.encoder, self.data, self.precision = encoder, data, precision
        self._to_device, self._row_limit = to_device, row_limit
        self._known_views, self._known_ranks = known_views, known_ranks
        self.views, self.captions, self.towers = cache(self._views), cache(self._captions), cache(self._towers)

    @property
    def source(self) -> Source:
        """The source of images, captions and labels."""
        return self.data.source

    @property
    def names(self) -> list[str]:
        """The names of the views in words: image, caption 1, …"""
        return [name.replace("_", " ") for name in self.encoder.plan.names]

    def rows(self, split: str, most: int | None = None) -> range:
        """Returns the rows of `split` that are read, at most the first `most`."""
        limits = [limit for limit in (self._row_limit(split), most) if limit is not None]
        return range(min([self.source.size(split), *limits]))

    def batches(self, split: str, most: int | None = None, captions: int | None = None) -> Iterator[Batch]:
        """Yields the samples of `rows(split, most)` in order, as batches on the device of the encoder, with their first
        `captions` captions (None: those of training).
        """
        count = len(self.rows(split, most))
        return map(self._to_device, self.data.single_process_dataloader(split, count, captions))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Computes (len(texts), D) features of any texts with the text tower."""
        tokens = encode(self.data.tokenizer, texts, self.data.context_length)
        with self.precision():
            chunks = [self.encoder.caption_features(self._to_device(chunk)) for chunk in tokens.split(TEXTS)]
            return torch.cat([chunk.float().cpu() for chunk in chunks])

    def labels(self, split: str, most: int | None = None) -> Tensor | None:
        """Returns the labels of at most `most` rows, (N,) int64; None if the data have no classes."""
        return self.source.labels(split, self.rows(split, most))

    def ranks(self, split: str, loss: ContrastiveLoss) -> Sequence[MatchCounts]:
        """Ranks each view of `views(split)` from the other views of each sample, see `rank_from_other_views`."""
        known = self._known_ranks.get(split)
        if known is not None and len(known[0].better) == len(self.rows(split)):
            return known
        return rank_from_other_views(loss, self.views(split))

    def _views(self, split: str) -> Tensor:
        """Computes `views(split)`: (n, N, D)."""
        known, count = self._known_views.get(split), len(self.rows(split))
        if known is not None and known.shape[1] >= count:
            return known[:, :count]
        with self.precision():
            return torch.cat(
                [self.encoder(batch.images, batch.captions).float().cpu() for batch in self.batches(split)], dim=1
            )

    def _captions(self, split: str) -> Tensor:
        """Computes `captions(split)`: (N * K, D), all captions of the source by the text tower, those of a sample next
        to each other.
        """
        return self.text_features([text for texts in self.source.texts(split, self.rows(split)) for text in texts])

    def _towers(self, split: str, most: int | None = None) -> TowerFeatures:
        """Computes `towers(split, most)`: features of at most `most` rows."""
        images, texts = [], []
        with self.precision():
            for batch in self.batches(split, most, captions=1):
                images.append(self.encoder.image_features(batch.images).float().cpu())
                texts.append(self.encoder.caption_features(batch.captions[:, 0]).float().cpu())
        return TowerFeatures(torch.cat(images), torch.cat(texts), self.labels(split, most))
