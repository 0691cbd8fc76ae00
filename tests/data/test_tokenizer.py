"""Tokenisers: texts can be decoded again, long texts are truncated, unsuitable tokenisers are refused."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from model.data.tokenizer import encode, load_tokenizer, train_tokenizer
from model.errors import ConfigError

TEXTS = ["red circle at the top left", "drapeau nouvelle-zélande", "große augen", "笑出眼泪的猫", "un œil"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 3, 400)


def test_round_trip_in_any_script(tokenizer):
    unseen = ["ein völlig neuer satz", "Ω 🦊"]
    rows = encode(tokenizer, TEXTS + unseen, 60)
    assert rows.shape == (7, 60)
    assert rows.dtype == torch.int64
    assert [tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows] == [
        *TEXTS,
        "ein völlig neuer satz",
        "ω 🦊",
    ]


def test_begin_end_and_padding(tokenizer):
    (row,) = encode(tokenizer, ["red"], 9).tolist()
    end = row.index(tokenizer.eos_token_id)
    assert row[0] == tokenizer.bos_token_id
    assert set(row[end + 1 :]) == {tokenizer.pad_token_id}
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}) == 3
    # transformers assumes that an end token with id 2 comes from an old checkpoint
    assert 2 not in (tokenizer.bos_token_id, tokenizer.eos_token_id)


def test_a_long_text_keeps_its_end_token(tokenizer):
    (row,) = encode(tokenizer, ["笑" * 50], 8).tolist()
    assert (row[0], row[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert tokenizer.eos_token_id not in row[:-1]


def test_equal_texts_give_equal_tokenizers(tokenizer):
    again = train_tokenizer(TEXTS * 3, 400)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert torch.equal(encode(again, TEXTS, 20), encode(tokenizer, TEXTS, 20))


def test_the_vocabulary_is_not_larger_than_vocab_size():
    texts = [f"word{i} thing{i * 7}" for i in range(300)]
    assert len(train_tokenizer(texts, 310)) == 310


def test_saved_and_loaded(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert torch.equal(encode(loaded, TEXTS, 20), encode(tokenizer, TEXTS, 20))


def test_padding_with_the_end_token_leaves_the_first_one_at_the_end_of_the_text(tokenizer, tmp_path):
    """CLIP's own tokeniser pads in this way."""
    names = {"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|end|>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **names).save_pretrained(tmp_path)
    rows, padded = encode(tokenizer, TEXTS, 40), encode(load_tokenizer(str(tmp_path)), TEXTS, 40)
    end = tokenizer.eos_token_id
    assert torch.equal((padded == end).int().argmax(1), (rows == end).int().argmax(1))


@pytest.mark.parametrize("missing", ["bos_token", "eos_token", "pad_token"])
def test_a_tokenizer_without_a_special_token_is_refused(tokenizer, tmp_path, missing):
    names = {"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|pad|>"}
    del names[missing]
    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **names).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=rf"data\.tokenizer=.*{missing}.*allowed"):
        load_tokenizer(str(tmp_path))


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.tokenizer=.*allowed"):
        load_tokenizer(str(tmp_path))
