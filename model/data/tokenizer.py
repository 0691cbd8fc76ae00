"""Tokenisers: byte-pair encoding trained on the captions, or one that is named. Shapes: N texts, T tokens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from model.config.schema import BackboneConfig, DataConfig
from model.data.source import Source
from model.errors import ConfigError, first_line
from model.record.disk import writing

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
# Id 2 stays unused: transformers reads an end token of that id as an old checkpoint's and looks for the highest id
# instead.
SPECIAL = (PAD, BEGIN, "<|unused|>", END)

# The most characters of a text from which a tokeniser learns. The time grows with the square of a word's length: 50,000
# letters take 15 seconds.
LEARNED = 2_000
# Training samples whose captions are enough to find the frequent words of any source here.
TOKENIZER_SAMPLES = 20_000

# Threads inside the tokeniser cannot be carried into forked workers, and batches of captions are too small to gain from
# them.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE (any language, nothing unknown) of lower-cased text with at most `vocab_size` tokens, which must
    be 300 or more to hold every byte; equal texts give equal tokenisers. Only the first LEARNED characters of each text
    are used.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text[:LEARNED] for text in texts), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=PAD)


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The tokeniser at `source`, a hub id or a folder. Raises ConfigError when it cannot be read or has no begin, end
    or padding token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except Exception as error:  # the reader of tokenizer.json raises plain Exception for a damaged file
        reason = first_line(error)
        raise ConfigError(
            f"data.tokenizer={source} cannot be read ({reason}); allowed: a hub id or folder of a tokeniser"
        ) from error
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if getattr(tokenizer, name) is None:
            raise ConfigError(
                f"data.tokenizer={source} has no {name}; allowed: tokenisers with begin, end and padding tokens"
            )
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Replaces `folder`: written beside it, then renamed. Raises NotWritten."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    with writing(folder):
        try:
            tokenizer.save_pretrained(beside)
            if folder.exists():
                shutil.rmtree(folder)
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], context_length: int) -> Tensor:
    """(N, T) int64: begin, the text (cut where it is too long), end, padding.

    Tokenisers that pad with their end token, as CLIP's does, are fine: the first end token of a row ends its text. A
    text that spells a special token, such as `<|endoftext|>`, is encoded like any other text.
    """
    begin, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    rows = [[begin, *ids[: context_length - 2], end] for ids in words(tokenizer, texts)]
    return torch.tensor([row + [pad] * (context_length - len(row)) for row in rows], dtype=torch.long).reshape(
        len(rows), context_length
    )


def cut_captions(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], context_length: int) -> int:
    """The number of texts that `encode` cuts."""
    return sum(len(ids) > context_length - 2 for ids in words(tokenizer, texts)) if texts else 0


def words(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without begin, end and padding."""
    options = {
        "add_special_tokens": False,
        "return_attention_mask": False,
        "verbose": False,
        "split_special_tokens": True,
    }
    rows = tokenizer(list(texts), **options)["input_ids"]
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    # Some tokenisers (SentencePiece) have the spelling of a special token in their vocabulary as a word.
    return [ids if special.isdisjoint(ids) else [one for one in ids if one not in special] for ids in rows]


def named_tokenizer(data: DataConfig, backbone: BackboneConfig) -> str | None:
    """The hub id or folder of a tokeniser that is not trained; None where a run trains its own."""
    return data.tokenizer or backbone.pretrained


def new_tokenizer(named: str | None, vocab_size: int, source: Source) -> PreTrainedTokenizerBase:
    """The tokeniser `named`, a hub id or a folder; None: one of `vocab_size` tokens, trained on the source's
    captions.
    """
    if named:
        return load_tokenizer(named)
    rows = range(min(source.size("train"), TOKENIZER_SAMPLES))
    return train_tokenizer([text for texts in source.texts("train", rows) for text in texts], vocab_size)
