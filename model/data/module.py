"""Lightning's side of the data: loaders over a source's splits."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from transformers import PreTrainedTokenizerBase

from model.data.dataset import BatchDataset
from model.data.loader import OrderedLoader, TrainLoader
from model.data.sampler import EpochSampler, ordered_batches
from model.data.source import SPLITS, Source, recall_ceiling
from model.errors import ConfigError
from model.metric_names import KS


class CaptionData(pl.LightningDataModule):
    """Batches of pictures and of the first `captions` captions of each, from any source.

    Each process reads its share: set `use_distributed_sampler=False` in the Trainer.
    """

    def __init__(
        self,
        source: Source,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int,
        num_workers: int,
        captions: int,
        context_length: int,
        seed: int,
        val_batch_size: int | None = None,
    ) -> None:
        """batch_size: rows of one process's batch in training; val_batch_size: at evaluation (None: the same);
        context_length: tokens of a caption, begin and end included; seed: of the order of the training rows."""
        super().__init__()
        self.source, self.tokenizer = source, tokenizer
        self.batch_size, self.val_batch_size = batch_size, val_batch_size or batch_size
        self.num_workers, self.seed = num_workers, seed
        self.captions, self.context_length = captions, context_length
        self._datasets: dict[tuple[str, bool], BatchDataset] = {}
        self._sampler: EpochSampler | None = None
        self._place: dict[str, int] | None = None
        self._replaced_before = 0

    def train_dataloader(self) -> TrainLoader:
        """A new order every epoch; knows its place within it."""
        rank, world = self._process()
        self._sampler = EpochSampler(self.source.size("train"), self.batch_size, seed=self.seed, rank=rank, world=world)
        if self._place is not None:
            self._sampler.load_state_dict(self._place)
            self._place = None
        return TrainLoader(self.dataset("train", training=True), self._sampler, self.num_workers)

    def state_dict(self) -> dict[str, Any]:
        """The place in training. Lightning also keeps the loader's own state, but does not restore it where
        configure_optimizers asked for the number of steps: the loaders are then made before the checkpoint's loops are
        read.
        """
        return (
            {}
            if self._sampler is None
            else {"train": self._sampler.state_dict(), "replaced": self.replaced_rows(), "samples": self.sizes()}
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Sets where the next `train_dataloader` starts. Raises ConfigError where the numbers of samples are not those
        with which the run began.
        """
        now, before = self.sizes(), state_dict.get("samples")
        if before not in (None, now):
            counts = [", ".join(f"{count:,} {split}" for split, count in sizes.items()) for sizes in (now, before)]
            raise ConfigError(
                f"the data have {counts[0]} samples now; allowed: those with which the run began, {counts[1]}"
            )
        self._place = state_dict["train"]
        self._replaced_before = state_dict.get("replaced", 0) if self._process()[0] == 0 else 0

    def val_dataloader(self) -> OrderedLoader:
        """The validation split in order."""
        return self.eval_dataloader("val")

    def test_dataloader(self) -> OrderedLoader:
        """The test split in order."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str) -> OrderedLoader:
        """Any split in order, every row once, with unchanged pictures."""
        rank, world = self._process()
        rows = ordered_batches(self.source.size(split), self.val_batch_size, rank=rank, world=world)
        return OrderedLoader(self.dataset(split, training=False), rows, self.num_workers)

    def whole_dataloader(self, split: str, rows: int | None = None) -> OrderedLoader:
        """Any split in order, or its first `rows` rows, all of it in this process."""
        size = self.source.size(split) if rows is None else min(rows, self.source.size(split))
        return OrderedLoader(
            self.dataset(split, training=False), ordered_batches(size, self.val_batch_size), self.num_workers
        )

    def dataset(self, split: str, *, training: bool) -> BatchDataset:
        """The batches of `split`; made once, as it remembers encoded captions."""
        key = (split, training)
        if key not in self._datasets:
            sizes = {"captions": self.captions, "context_length": self.context_length}
            self._datasets[key] = BatchDataset(self.source, split, self.tokenizer, **sizes, training=training)
        return self._datasets[key]

    def sizes(self) -> dict[str, int]:
        """Split -> rows."""
        return {split: self.source.size(split) for split in SPLITS}

    def replaced_rows(self) -> int:
        """Training rows that were replaced because their pictures could no longer be read: those of this process and,
        in the first process, those of all processes before the run was continued.
        """
        return self._replaced_before + (self._sampler.replaced if self._sampler is not None else 0)

    def ceiling(self, split: str) -> dict[str, float] | None:
        """`recall@k` -> the highest that caption 1 allows in `split`; None where the source cannot say."""
        fits = self.source.fits(split)
        return None if fits is None else {f"recall@{k}": recall_ceiling(fits, k) for k in KS}

    def _process(self) -> tuple[int, int]:
        """Rank and number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
