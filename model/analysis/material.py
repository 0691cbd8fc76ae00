"""What the measures of a finished run read: views, labels and captions of whole splits, each encoded once, float32 on
the CPU.

Shapes: n views, N samples, K captions, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from model.data.batch import Batch
from model.data.source import Source
from model.data.tokenizer import encode
from model.views.encoder import ViewEncoder

# Texts that go through the text tower at a time.
TEXTS = 512


class Pairs(NamedTuple):
    """The two plain towers' features of a split, and its labels."""

    image: Tensor
    """(N, D)"""
    text: Tensor
    """(N, D), of caption 1."""
    labels: Tensor | None
    """(N,) int64, -1 for a row without a class; None where the data has no classes."""


class Material:
    """Splits seen through an encoder. Everything is made when it is first asked for, and kept."""

    def __init__(
        self,
        encoder: ViewEncoder,
        data,
        *,
        place: Callable,
        context: Callable[[], AbstractContextManager],
        limit: Callable[[str], int | None],
    ) -> None:
        """data: a CaptionData; place: moves a batch, or a tensor, to the encoder's device and dtype; context: what the
        encoder runs in, such as autocast; limit: split -> how many of its first rows count (None: all).
        """
        self.encoder, self.data, self._place, self.context, self._limit = encoder, data, place, context, limit
        self.views, self.captions, self.pairs = cache(self._views), cache(self._captions), cache(self._pairs)

    @property
    def source(self) -> Source:
        """Where pictures, captions and labels come from."""
        return self.data.source

    @property
    def names(self) -> list[str]:
        """Of the views, in words: image, caption 1, …"""
        return [name.replace("_", " ") for name in self.encoder.plan.names]

    def rows(self, split: str, most: int | None = None) -> range:
        """The rows of `split` that count, at most the first `most`."""
        limits = [limit for limit in (self._limit(split), most) if limit is not None]
        return range(min([self.source.size(split), *limits]))

    def batches(self, split: str, most: int | None = None) -> Iterator[Batch]:
        """Those rows in order, on the encoder's device."""
        return map(self._place, self.data.whole_dataloader(split, len(self.rows(split, most))))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), D) of any texts, by the text tower."""
        tokens = encode(self.data.tokenizer, texts, self.data.context_length)
        with self.context():
            return torch.cat(
                [self.encoder.caption_features(self._place(part)).float().cpu() for part in tokens.split(TEXTS)]
            )

    def _views(self, split: str) -> Tensor:
        """(n, N, D)."""
        with self.context():
            return torch.cat(
                [self.encoder(batch.images, batch.captions).float().cpu() for batch in self.batches(split)], dim=1
            )

    def _captions(self, split: str) -> Tensor:
        """(N * K, D): all captions of the source, those of a sample side by side, all by the text tower."""
        return self.text_features([text for texts in self.source.texts(split, self.rows(split)) for text in texts])

    def _pairs(self, split: str, most: int | None = None) -> Pairs:
        """Of at most `most` rows."""
        with self.context():
            made = [
                (self.encoder.image_features(b.images), self.encoder.caption_features(b.captions[:, 0]))
                for b in self.batches(split, most)
            ]
        image, text = (torch.cat([part.float().cpu() for part in parts]) for parts in zip(*made, strict=True))
        return Pairs(image, text, self.labels(split, most))

    def labels(self, split: str, most: int | None = None) -> Tensor | None:
        """(N,) int64; None where the data has no classes."""
        return self.source.labels(split, self.rows(split, most))
