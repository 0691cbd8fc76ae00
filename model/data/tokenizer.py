"""Tokenisers: byte-pair encoding trained on the captions, or one that is named. Shapes: N texts, T tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from model.errors import ConfigError

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE (any language, nothing unknown) with at most `vocab_size` tokens; equal texts give equal tokenisers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BEGIN, "<|unused|>", END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=PAD)


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The tokeniser at `source`, a hub id or a folder. Raises ConfigError when it cannot be read or has no begin, end or padding token."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"data.tokenizer={source} cannot be read ({reason}); allowed: a hub id or folder of a tokeniser") from error
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if getattr(tokenizer, name) is None:
            raise ConfigError(f"data.tokenizer={source} has no {name}; allowed: tokenisers with begin, end and padding tokens")
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], context_length: int) -> Tensor:
    """(N, T) int64: begin, the text (cut where it is too long), end, padding. The first end token is the end of the text."""
    words = tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=context_length - 2)["input_ids"]
    tokens = torch.full((len(words), context_length), tokenizer.pad_token_id)
    for row, ids in zip(tokens, words, strict=True):
        row[: len(ids) + 2] = torch.tensor([tokenizer.bos_token_id, *ids, tokenizer.eos_token_id])
    return tokens
