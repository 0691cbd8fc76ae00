"""Loaders: the batches depend neither on workers nor on processes, and no global random number is drawn."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch

from model.data.sampler import EpochSampler, ordered_batches
from model.data.tokenizer import encode
from model.data.workers import start_method
from tests.data.helpers import small_data, small_scenes


def assert_equal(batch, other) -> None:
    """Asserts that two batches are equal, field by field."""
    assert all(torch.equal(a, b) for a, b in zip(batch, other, strict=True))


@pytest.mark.parametrize("name", ["train", "val"])
def test_workers_make_the_same_batches(name):
    source = small_scenes()
    here, there = (list(getattr(small_data(source, num_workers=n), f"{name}_dataloader")()) for n in (0, 2))
    assert len(here) == len(there) > 1
    for batch, other in zip(here, there, strict=True):
        assert_equal(batch, other)


def test_workers_of_a_later_epoch_have_the_captions_of_earlier_epochs(monkeypatch):
    data = small_data(num_workers=2)
    first = list(data.val_dataloader())
    monkeypatch.setattr(data.source, "texts", lambda split, indices: pytest.fail("captions are encoded again"))
    again = list(data.val_dataloader())
    assert len(first) == len(again) == 3
    for batch, other in zip(first, again, strict=True):
        assert_equal(batch, other)


def test_captions_of_later_epochs_are_those_of_their_rows():
    """22 rows in batches of 4: an epoch leaves out two rows, which a later epoch has."""
    loader = small_data(num_workers=2).train_dataloader()
    here = small_data()
    for batch in [batch for _ in range(3) for batch in loader]:
        rows = batch.indices.tolist()
        texts = [text for texts in here.source.texts("train", rows) for text in texts[:2]]
        expected = encode(here.tokenizer, texts, 24).unflatten(0, (4, 2))
        assert torch.equal(batch.captions, expected)


def test_shapes_types_and_range():
    batch = next(iter(small_data().train_dataloader()))
    assert (batch.images.shape, batch.images.dtype) == ((4, 3, 32, 32), torch.float32)
    assert (batch.captions.shape, batch.captions.dtype) == ((4, 2, 24), torch.int64)
    assert (batch.labels.shape, batch.labels.dtype, batch.indices.dtype) == ((4,), torch.int64, torch.int64)
    assert -1 <= batch.images.min() < -0.5 < 0.5 < batch.images.max() <= 1


def test_a_batch_contains_the_rows_of_its_indices():
    data = small_data()
    batch = next(iter(data.train_dataloader()))
    rows = batch.indices.tolist()
    pixels = data.source.images("train", rows)
    torch.testing.assert_close(batch.images, pixels / 127.5 - 1)
    texts = [text for texts in data.source.texts("train", rows) for text in texts[:2]]
    assert [
        data.tokenizer.decode(row, skip_special_tokens=True).strip() for row in batch.captions.flatten(0, 1)
    ] == texts
    assert batch.labels.tolist() == data.source.labels("train", rows).tolist()


def test_evaluation_reads_every_row_once_in_order():
    batches = list(small_data(val_batch_size=5).val_dataloader())
    assert [batch.indices.tolist() for batch in batches] == [[0, 1, 2, 3, 4], [5, 6, 7, 8]]


def test_epochs_advance_without_lightning():
    loader = small_data().train_dataloader()
    epochs = [[batch.indices.tolist() for batch in loader] for _ in range(3)]
    assert [len(epoch) for epoch in epochs] == [5, 5, 5]
    assert len({str(epoch) for epoch in epochs}) == 3


def test_a_state_counts_the_batches_that_were_handed_out():
    data = small_data(num_workers=2)
    uninterrupted = data.train_dataloader()
    expected = [batch.indices.tolist() for _ in range(2) for batch in uninterrupted]
    loader = data.train_dataloader()
    batches = iter(loader)
    first = [next(batches).indices.tolist() for _ in range(2)]
    resumed = data.train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    rest = [batch.indices.tolist() for _ in range(2) for batch in resumed]
    assert first + rest == expected


def test_the_order_follows_the_seed():
    orders = [[b.indices.tolist() for b in small_data(seed=seed).train_dataloader()] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_batches_of_one_process(world):
    expected = list(EpochSampler(50, 4 * world, seed=3))
    shares = [list(EpochSampler(50, 4, seed=3, rank=rank, world=world)) for rank in range(world)]
    assert len(expected) == 50 // (4 * world)
    for i, rows in enumerate(expected):
        assert np.array_equal(rows.indices, np.concatenate([share[i].indices for share in shares]))


@pytest.mark.parametrize("size", [8, 9, 11])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_evaluate_every_row(size, world):
    """All processes have the same number of rows. The rows of one step are neighbours. First rows fill the end."""
    shares = [ordered_batches(size, 3, rank=rank, world=world) for rank in range(world)]
    rows = np.concatenate([rows.indices for share in shares for rows in share])
    assert sorted(rows.tolist()) == sorted([*range(size), *range(-size % world)])
    assert len({tuple(len(rows.indices) for rows in share) for share in shares}) == 1
    first = np.concatenate([share[0].indices for share in shares])
    assert sorted(first.tolist()) == sorted(row % size for row in range(min(3 * world, size + -size % world)))


@pytest.mark.parametrize("workers", [0, 2])
def test_no_global_random_number_is_drawn(workers):
    data = small_data(num_workers=workers)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002 - the test is about the global generator
    for _ in range(2):
        list(data.train_dataloader())
        list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


def test_a_dataset_can_be_sent_to_a_spawned_worker():
    data = small_data()
    rows = next(iter(data.train_dataloader().sampler))
    dataset = data.dataset("train", training=True)
    assert_equal(pickle.loads(pickle.dumps(dataset))[rows], dataset[rows])


def test_sizes_and_ceiling():
    data = small_data(small_scenes(22, 9, 8))
    assert data.sizes() == {"train": 22, "val": 9, "test": 8}
    assert data.ceiling("val") == {"recall@1": 1.0, "recall@5": 1.0, "recall@10": 1.0}


@pytest.mark.parametrize(("method", "started"), [("loky", "fork"), ("fork", None), ("spawn", None), (None, None)])
def test_workers_start_in_a_process_of_a_parallel_launcher(monkeypatch, method, started):
    """joblib's processes have their own start method, which a DataLoader cannot use."""
    monkeypatch.setattr("multiprocessing.get_start_method", lambda allow_none=False: method)
    assert start_method() == started
