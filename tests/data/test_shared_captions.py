"""Training and the analysis encode each caption of a split once."""

from __future__ import annotations

import torch

from model.data import dataset as module
from tests.data.helpers import small_data


def test_the_analysis_reads_the_captions_that_training_has_encoded(monkeypatch):
    counts, encode = [], module.encode
    monkeypatch.setattr(module, "encode", lambda *arguments: counts.append(len(arguments[1])) or encode(*arguments))
    data, alone = small_data(), small_data()
    batches = list(data.train_dataloader())
    trained = {
        int(row): captions for batch in batches for row, captions in zip(batch.indices, batch.captions, strict=True)
    }
    encoded_in_training = sum(counts)
    rows = data.source.size("train")
    counts.clear()
    read = torch.cat([batch.captions for batch in data.single_process_dataloader("train")])
    assert encoded_in_training == len(trained) * data.captions
    assert sum(counts) == (rows - len(trained)) * data.captions
    assert torch.equal(read, torch.cat([batch.captions for batch in alone.single_process_dataloader("train")]))
    for row, captions in trained.items():
        assert torch.equal(read[row], captions)


def test_fewer_captions_are_the_first_ones_and_only_they_are_encoded(monkeypatch):
    counts, encode = [], module.encode
    monkeypatch.setattr(module, "encode", lambda *arguments: counts.append(len(arguments[1])) or encode(*arguments))
    data, alone = small_data(), small_data()
    assert data.captions == 2
    first = torch.cat([batch.captions for batch in data.single_process_dataloader("train", captions=1)])
    assert sum(counts) == len(first) == data.source.size("train")
    whole = torch.cat([batch.captions for batch in alone.single_process_dataloader("train")])
    assert torch.equal(first[:, 0], whole[:, 0])
    counts.clear()
    assert torch.equal(torch.cat([batch.captions for batch in data.single_process_dataloader("train")]), whole)
    assert sum(counts) == data.source.size("train")
