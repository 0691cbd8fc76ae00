"""A tokeniser of an earlier run gives the same token ids as one that is trained now."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from model.data import remembered as module
from model.data import tokenizer as tokenizers_module
from model.data.tokenizer import count_truncated, encode, new_tokenizer, train_tokenizer

TEXTS = [f"red circle {i} at the top left, große augen {i * 7} 笑出眼泪的猫" for i in range(60)]


@pytest.fixture(autouse=True)
def trained(tmp_path, monkeypatch) -> list[int]:
    """An empty cache. Returns the vocabulary sizes of the tokenisers that are trained in the test."""
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    sizes, train = [], tokenizers_module.trained

    def counted(texts, vocab_size):
        sizes.append(vocab_size)
        return train(texts, vocab_size)

    monkeypatch.setattr(tokenizers_module, "trained", counted)
    return sizes


def source(texts: list[str] = TEXTS):
    """A source with one caption for each row."""
    return SimpleNamespace(size=lambda split: len(texts), texts=lambda split, rows: [[texts[row]] for row in rows])


def test_the_token_ids_are_those_of_a_new_tokenizer(trained):
    expected = train_tokenizer(TEXTS, 400)
    first, second = new_tokenizer(None, 400, source()), new_tokenizer(None, 400, source())
    assert trained == [400, 400]  # by this test, and for the first run
    for tokenizer in (first, second):
        assert tokenizer.get_vocab() == expected.get_vocab()
        assert torch.equal(encode(tokenizer, TEXTS, 40), encode(expected, TEXTS, 40))
        assert tokenizer.decode(encode(tokenizer, ["Ω 🦊"], 20)[0], skip_special_tokens=True).strip() == "ω 🦊"


def test_all_that_determines_a_tokenizer_trains_it_again(trained, monkeypatch):
    new_tokenizer(None, 400, source())
    new_tokenizer(None, 401, source())
    new_tokenizer(None, 400, source([*TEXTS[:-1], "another"]))
    monkeypatch.setattr("tokenizers.__version__", "0.0.1")
    new_tokenizer(None, 400, source())
    assert trained == [400, 401, 400, 400]


def test_truncated_captions_are_counted_once(monkeypatch):
    tokenizer = train_tokenizer(TEXTS, 400)
    by_hand = [len(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids) for text in TEXTS]
    context = sorted(by_hand)[30] + 2
    expected = sum(length + 2 > context for length in by_hand)
    assert 0 < expected < len(TEXTS)
    assert count_truncated(tokenizer, TEXTS, context) == expected
    monkeypatch.setattr(tokenizers_module, "token_ids", None)
    assert count_truncated(tokenizer, TEXTS, context) == expected
    with pytest.raises(TypeError):
        count_truncated(tokenizer, TEXTS, context - 1)
