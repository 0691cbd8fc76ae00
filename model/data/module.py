"""The LightningDataModule: loaders of a source's splits."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from transformers import PreTrainedTokenizerBase

from model.data.dataset import BatchDataset
from model.data.loader import OrderedLoader, TrainLoader
from model.data.sampler import EpochSampler, ordered_batches
from model.data.source import SPLITS, Source, recall_ceiling
from model.data.transforms import Transforms
from model.errors import ConfigError
from model.metric_names import KS


class CaptionData(pl.LightningDataModule):
    """Batches of pictures and of the first `captions` captions of each, from any source.

    Each process reads its share of the rows: set `use_distributed_sampler=False` in the Trainer.
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
        transforms: Transforms | None = None,
        sampled_from: int | None = None,
    ) -> None:
        """batch_size: rows of a batch of one process in training; val_batch_size: the same in evaluation (None:
        `batch_size`); context_length: tokens of a caption, including begin and end; seed: decides the order of the
        training rows. transforms: the random changes of training pictures; sampled_from: the number of captions of a
        picture from which `captions` are drawn in training (None: the first are used).
        """
        super().__init__()
        self.source, self.tokenizer = source, tokenizer
        self.batch_size, self.val_batch_size = batch_size, val_batch_size or batch_size
        self.num_workers, self.seed = num_workers, seed
        self.captions, self.context_length = captions, context_length
        self.transforms, self.sampled_from = transforms, sampled_from
        self._datasets: dict[tuple[str, bool], BatchDataset] = {}
        self._sampler: EpochSampler | None = None
        self._resume_state: dict[str, int] | None = None
        self._replaced_before = 0

    def train_dataloader(self) -> TrainLoader:
        """Returns a loader whose order differs in every epoch. After `load_state_dict`, it starts at that position."""
        rank, world = self._process()
        self._sampler = EpochSampler(self.source.size("train"), self.batch_size, seed=self.seed, rank=rank, world=world)
        if self._resume_state is not None:
            self._sampler.load_state_dict(self._resume_state)
            self._resume_state = None
        return TrainLoader(self.dataset("train", training=True), self._sampler, self.num_workers)

    def state_dict(self) -> dict[str, Any]:
        """Returns the position in training, and the normalisation of pixels, which `model.load` needs.

        Lightning also saves the loader's own state, but does not restore it if configure_optimizers has asked for the
        number of steps: it then makes the loaders before it reads the loops' state from the checkpoint.
        """
        if self._sampler is None:
            return {}
        return {
            "train": self._sampler.state_dict(),
            "replaced": self.replaced_rows(),
            "samples": self.sizes(),
            "normalization": self.source.normalization,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Sets the position at which the next `train_dataloader` starts. Raises ConfigError if the numbers of samples
        differ from those at the start of the run.
        """
        now, before = self.sizes(), state_dict.get("samples")
        if before not in (None, now):
            counts = [", ".join(f"{count:,} {split}" for split, count in sizes.items()) for sizes in (now, before)]
            raise ConfigError(
                f"the data have {counts[0]} samples now; allowed: those with which the run began, {counts[1]}"
            )
        self._resume_state = state_dict["train"]
        self._replaced_before = state_dict.get("replaced", 0) if self._process()[0] == 0 else 0

    def val_dataloader(self) -> OrderedLoader:
        """Returns the validation split in order."""
        return self.eval_dataloader("val")

    def test_dataloader(self) -> OrderedLoader:
        """Returns the test split in order."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str) -> OrderedLoader:
        """Returns this process's share of a split in order, with unchanged pictures."""
        rank, world = self._process()
        rows = ordered_batches(self.source.size(split), self.val_batch_size, rank=rank, world=world)
        return OrderedLoader(self.dataset(split, training=False), rows, self.num_workers)

    def single_process_dataloader(
        self, split: str, count: int | None = None, captions: int | None = None
    ) -> OrderedLoader:
        """Returns the first `count` rows (None: all) of a split in order, all of them in this process, with their first
        `captions` captions (None: those of training).
        """
        size = self.source.size(split) if count is None else min(count, self.source.size(split))
        dataset = self.dataset(split, training=False)
        if captions is not None:
            dataset = dataset.with_captions(captions)
        return OrderedLoader(dataset, ordered_batches(size, self.val_batch_size), self.num_workers)

    def dataset(self, split: str, *, training: bool) -> BatchDataset:
        """Returns the batches of `split`. The same object every time, because it stores encoded captions."""
        key = (split, training)
        if key not in self._datasets:
            self._datasets[key] = BatchDataset(
                self.source,
                split,
                self.tokenizer,
                captions=self.captions,
                context_length=self.context_length,
                training=training,
                seed=self.seed,
                transforms=self.transforms,
                # Evaluation of the training split shares the encoded captions.
                sampled_from=self.sampled_from if split == "train" else None,
            )
            other = self._datasets.get((split, not training))
            if other is not None:
                self._datasets[key].share_captions(other)
        return self._datasets[key]

    def sizes(self) -> dict[str, int]:
        """Returns split -> number of rows."""
        return {split: self.source.size(split) for split in SPLITS}

    def replaced_rows(self) -> int:
        """Returns the number of this process's training rows that were replaced because their pictures could no longer
        be read.

        In the first process, the count includes the rows before the run was resumed. A checkpoint holds only the count
        of the first process, so that the total of a resumed run lacks earlier rows of the other processes.
        """
        return self._replaced_before + (self._sampler.replaced_rows if self._sampler is not None else 0)

    def ceiling(self, split: str) -> dict[str, float] | None:
        """Returns `recall@k` -> the highest value that caption 1 allows in `split`. None if the source does not know
        for which pictures a caption is true.
        """
        matches = self.source.matches(split)
        return None if matches is None else {f"recall@{k}": recall_ceiling(matches, k) for k in KS}

    def _process(self) -> tuple[int, int]:
        """Returns the number of this process and the number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
