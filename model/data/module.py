"""Lightning's side of the data: loaders over a source's splits."""

from __future__ import annotations

from collections.abc import Iterator

import pytorch_lightning as pl
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from model.data.batch import Batch
from model.data.loader import BatchLoader
from model.data.sampler import ordered_batches, train_batches
from model.data.source import Source, recall_ceiling
from model.data.tokenizer import encode


class CaptionData(pl.LightningDataModule):
    """Batches of pictures and of the first `captions` captions of each, from any source."""

    def __init__(
        self, source: Source, tokenizer: PreTrainedTokenizerBase, *, batch_size: int, num_workers: int, captions: int, context_length: int, seed: int
    ) -> None:
        """`context_length`: tokens of a caption; `seed`: of the order of the training samples."""
        super().__init__()
        self.source, self.tokenizer = source, tokenizer
        self.batch_size, self.num_workers = batch_size, num_workers
        self.captions, self.context_length, self.seed = captions, context_length, seed
        self._tokens: dict[tuple[str, int], Tensor] = {}

    def train_dataloader(self) -> BatchLoader:
        """A new order every epoch; knows its place within it."""
        rank, world = self._process()
        size = self.source.size("train")

        def batches(epoch: int, start: int) -> Iterator[list[int]]:
            return train_batches(size, self.batch_size, self.seed, epoch, rank=rank, world=world, start=start)

        return self._loader("train", batches, size // (self.batch_size * world))

    def val_dataloader(self) -> BatchLoader:
        """The validation split in order."""
        return self.eval_dataloader("val")

    def test_dataloader(self) -> BatchLoader:
        """The test split in order."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str) -> BatchLoader:
        """Any split in order, as it is at evaluation: not augmented, every sample once."""
        rank, world = self._process()
        size = self.source.size(split)

        def batches(epoch: int, start: int) -> Iterator[list[int]]:
            return ordered_batches(size, self.batch_size, rank=rank, world=world)

        return self._loader(split, batches, len(list(batches(0, 0))), augment=False)

    def _loader(self, split: str, batches, length: int, augment: bool = True) -> BatchLoader:
        def make(epoch: int, indices: list[int]) -> Batch:
            return self.batch(split, indices, epoch if augment else None)

        return BatchLoader(make, batches, length, self.num_workers, pin=torch.cuda.is_available())

    def batch(self, split: str, indices: list[int], epoch: int | None = None) -> Batch:
        """The samples at `indices` of `split`; with an `epoch`, augmented as in that epoch where the source does so."""
        images = self.source.images(split, indices, epoch).float().div_(255)
        mean, deviation = (torch.tensor(values)[:, None, None] for values in self.source.normalization)
        return Batch((images - mean) / deviation, self._encoded(split, indices), self.source.labels(split, indices), torch.tensor(indices))

    def _encoded(self, split: str, indices: list[int]) -> Tensor:
        """(B, K, T) tokens; every caption is encoded once in each process."""
        new = [index for index in indices if (split, index) not in self._tokens]
        if new:
            texts = [text for captions in self.source.texts(split, new) for text in captions[: self.captions]]
            tokens = encode(self.tokenizer, texts, self.context_length).unflatten(0, (len(new), self.captions))
            self._tokens.update({(split, index): rows for index, rows in zip(new, tokens, strict=True)})
        return torch.stack([self._tokens[split, index] for index in indices])

    def sizes(self) -> dict[str, int]:
        """Split -> samples."""
        return {split: self.source.size(split) for split in ("train", "val", "test")}

    def ceiling(self, split: str) -> dict[str, float] | None:
        """`recall@k` that caption 1 allows in `split`; None where the source cannot say."""
        fits = self.source.fits(split)
        return None if fits is None else {f"recall@{k}": recall_ceiling(fits, k) for k in (1, 5, 10)}

    def _process(self) -> tuple[int, int]:
        """Rank and number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
