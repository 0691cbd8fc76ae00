"""data.caption_order=sampled: a permutation of the captions for every row and epoch."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
import torch

from model.data import dataset as module
from tests.conftest import compose_run
from tests.data.helpers import small_data, small_scenes

EPOCHS = 60


def texts_of(data, batches) -> list[tuple[int, list[str]]]:
    """Returns the row and the decoded captions of each sample."""
    decode = data.tokenizer.decode
    return [
        (int(row), [decode(ids, skip_special_tokens=True).strip() for ids in captions.tolist()])
        for batch in batches
        for row, captions in zip(batch.indices, batch.captions, strict=True)
    ]


def test_two_of_three_captions_are_drawn_uniformly():
    """Over 60 epochs of 20 rows, each ordered pair of three captions is as frequent as the others."""
    data = small_data(sampled_from=3, context_length=64)
    loader = data.train_dataloader()
    pairs: Counter[tuple[int, int]] = Counter()
    for row, captions in texts_of(data, [batch for _ in range(EPOCHS) for batch in loader]):
        written = [text.lower() for text in data.source.texts("train", [row])[0][:3]]
        pairs[tuple(written.index(caption) for caption in captions)] += 1
    total = EPOCHS * 20
    assert sum(pairs.values()) == total
    expected = total / 6
    # Chi-squared with 5 degrees of freedom, 1 % critical value.
    assert sum((pairs[pair] - expected) ** 2 / expected for pair in permutations(range(3), 2)) < 15.1


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers_or_on_resumption(workers):
    loader = small_data(sampled_from=5).train_dataloader()
    expected = [*loader, *loader]
    data = small_data(sampled_from=5, num_workers=workers)
    again = data.train_dataloader()
    for batch, other in zip(expected[:5], again, strict=True):
        assert torch.equal(batch.captions, other.captions)
    resumed = small_data(sampled_from=5, num_workers=workers).train_dataloader()
    resumed.load_state_dict({"epoch": 1, "taken": 2})
    for batch, other in zip(expected[7:], resumed, strict=True):
        assert torch.equal(batch.captions, other.captions)


def test_evaluation_reads_the_first_captions():
    sampled, fixed = small_data(sampled_from=5), small_data()
    list(sampled.train_dataloader())
    for split in ("train", "val"):
        for batch, other in zip(sampled.eval_dataloader(split), fixed.eval_dataloader(split), strict=True):
            assert torch.equal(batch.captions, other.captions)


@pytest.mark.parametrize("workers", [0, 1])
def test_each_caption_is_encoded_once(monkeypatch, workers):
    """After the epochs that have drawn every caption, no process encodes any."""
    data = small_data(small_scenes(8), sampled_from=3, num_workers=workers)
    counts, encode = [], module.encode
    monkeypatch.setattr(module, "encode", lambda *arguments: counts.append(len(arguments[1])) or encode(*arguments))
    loader = data.train_dataloader()
    for _ in range(12):
        list(loader)
    dataset = data.dataset("train", training=True)
    assert dataset.encoded.all()
    if not workers:  # the counts of workers are lost
        assert sum(counts) == 8 * 3
    texts = [text for captions in data.source.texts("train", range(8)) for text in captions[:3]]
    assert torch.equal(dataset.tokens.flatten(0, 1), encode(data.tokenizer, texts, 24).int())


@pytest.mark.parametrize(("order", "sampled_from"), [("fixed", None), ("sampled", 4)])
def test_the_configuration_names_the_captions(order, sampled_from, tmp_path):
    from model.build import make_data
    from model.views.backbone_sizes import resolved_sizes

    config = compose_run("data.train_size=32", "data.batch_size=8", "data.val_size=4", "data.test_size=4",
                         "data.captions=4", "model.captions=2", f"data.caption_order={order}")  # fmt: skip
    data = make_data(config, resolved_sizes(config.backbone), tmp_path, None)
    assert (data.sampled_from, data.captions, data.transforms) == (sampled_from, 2, None)
