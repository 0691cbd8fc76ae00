"""A resumed run reads exactly the batches that the uninterrupted run would have read, wherever the checkpoint was
written.
"""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch

from tests.data.helpers import small_data, small_scenes

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
]
EPOCHS, BATCHES = 3, 5


class Recorder(pl.LightningModule):
    """Records the batches and learns nothing. asks: whether it asks for the number of steps, so that Lightning makes
    the loaders early.
    """

    def __init__(self, asks: bool) -> None:
        super().__init__()
        self.asks = asks
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, list[int]]] = []

    def training_step(self, batch, batch_index):
        self.seen.append((self.current_epoch, batch.indices.tolist()))
        return self.weight * batch.images.mean()

    def validation_step(self, batch, batch_index):
        pass

    def configure_optimizers(self):
        if self.asks:
            assert self.trainer.estimated_stepping_batches > 0
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAt(pl.Callback):
    """Saves one checkpoint, in one hook, at one optimizer step."""

    def __init__(self, hook: str, step: int, path) -> None:
        self.step, self.path, self.batches = step, path, None
        setattr(self, hook, self.save)

    def save(self, trainer, module, *rest):
        if trainer.global_step == self.step and not trainer.sanity_checking and self.batches is None:
            trainer.save_checkpoint(self.path)
            self.batches = len(module.seen)


def fit(path=None, callbacks=(), workers: int = 0, asks: bool = True, **options) -> list[tuple[int, list[int]]]:
    """Returns the batches of a run. path: the checkpoint from which it resumes."""
    module = Recorder(asks)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        use_distributed_sampler=False,
        callbacks=list(callbacks),
        num_sanity_val_steps=0,
        **quiet,
        **options,
    )
    trainer.fit(
        module,
        datamodule=small_data(small_scenes(4 * BATCHES + 2), num_workers=workers),
        ckpt_path=path,
        weights_only=True,
    )
    return module.seen


def interrupted(path, hook: str, step: int, **options) -> list[tuple[int, list[int]]]:
    """Returns the batches of a run until its checkpoint, followed by those of the run that resumes from it."""
    save = SaveAt(hook, step, path)
    before = fit(callbacks=[save], **options)
    assert save.batches is not None
    return before[: save.batches] + fit(path, **options)


def indices(seen) -> list[list[int]]:
    """Returns the batches without the epochs."""
    return [rows for _, rows in seen]


def test_every_epoch_has_another_permutation():
    seen = fit()
    assert [epoch for epoch, _ in seen] == [0] * BATCHES + [1] * BATCHES + [2] * BATCHES
    epochs = [[row for batch in indices(seen)[i : i + BATCHES] for row in batch] for i in range(0, len(seen), BATCHES)]
    assert all(len(set(rows)) == 4 * BATCHES for rows in epochs)
    assert len({tuple(rows) for rows in epochs}) == EPOCHS


@pytest.mark.parametrize("step", [1, 4, 5, 6, 10, 14])
def test_checkpoint_after_any_batch(step, tmp_path):
    assert indices(interrupted(tmp_path / "a.ckpt", "on_train_batch_end", step)) == indices(fit())


@pytest.mark.parametrize("step", [4, 7])
def test_checkpoint_of_a_module_that_does_not_ask_for_the_number_of_steps(step, tmp_path):
    assert interrupted(tmp_path / "a.ckpt", "on_train_batch_end", step, asks=False) == fit(asks=False)


@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_validation_end"])
@pytest.mark.parametrize("epoch", [1, 2])
def test_checkpoint_at_the_end_of_an_epoch(hook, epoch, tmp_path):
    assert interrupted(tmp_path / "a.ckpt", hook, epoch * BATCHES) == fit()


@pytest.mark.parametrize("step", [2, 7])
@pytest.mark.slow
def test_checkpoint_with_workers_that_have_prepared_more(step, tmp_path):
    assert interrupted(tmp_path / "a.ckpt", "on_train_batch_end", step, workers=2) == fit()


@pytest.mark.parametrize(
    ("hook", "step"), [("on_train_batch_end", 4), ("on_train_epoch_end", 6), ("on_train_batch_end", 6)]
)
def test_checkpoint_of_epochs_with_limited_batches(hook, step, tmp_path):
    limit = {"limit_train_batches": 3}
    expected = fit(**limit)
    assert indices(expected)[3:6] == indices(fit())[BATCHES : BATCHES + 3]
    assert indices(interrupted(tmp_path / "a.ckpt", hook, step, **limit)) == indices(expected)


def test_checkpoint_of_a_validation_within_an_epoch(tmp_path):
    assert indices(interrupted(tmp_path / "a.ckpt", "on_validation_end", 7, val_check_interval=2)) == indices(fit())
