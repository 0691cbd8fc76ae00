"""Tokenisers: byte-pair encoding trained on the captions, or an existing tokeniser. Shapes: N texts, T tokens."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from model.data.remembered import remembered
from model.data.source import Source
from model.errors import ConfigError, first_line
from model.record.disk import writing
from model.views.towers import SpecialTokens

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
# Id 2 stays unused: transformers assumes that an end token with that id comes from an old checkpoint, and looks for the
# highest id instead.
SPECIAL = (PAD, BEGIN, "<|unused|>", END)

# The most characters of a text on which a tokeniser is trained. The time grows with the square of a word's length:
# 50,000 letters take 15 seconds.
MOST_CHARACTERS = 2_000
# The most training samples on whose captions a tokeniser is trained: enough to find the frequent words.
TOKENIZER_SAMPLES = 20_000

# Forked workers cannot use the tokeniser's threads, and batches of captions are too small to gain from threads.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Trains byte-level BPE on lower-cased text. It encodes every language without unknown tokens. Equal texts give
    equal tokenisers.

    texts: only the first MOST_CHARACTERS of each text are used; vocab_size: the most tokens, 300 or more to hold every
    byte.
    """
    return with_names(trained([text[:MOST_CHARACTERS] for text in texts], vocab_size))


def remembered_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Returns the tokeniser of `train_tokenizer`, from the user's cache folder if it was trained before."""
    texts = [text[:MOST_CHARACTERS] for text in texts]
    settings = json.dumps(trainer_settings(vocab_size))
    inputs = (tokenizers.__version__, untrained().to_str(), settings, *texts)
    saved = remembered("tokenizers", inputs, lambda: trained(texts, vocab_size).to_str())
    return with_names(Tokenizer.from_str(saved))


def trained(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """Returns the tokeniser of `train_tokenizer` without the names of its special tokens."""
    tokenizer = untrained()
    trainer = trainers.BpeTrainer(**trainer_settings(vocab_size), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def untrained() -> Tokenizer:
    """Returns a tokeniser without a vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def trainer_settings(vocab_size: int) -> dict[str, Any]:
    """Returns the arguments of the trainer that determine its result."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return {"vocab_size": vocab_size, "special_tokens": list(SPECIAL), "initial_alphabet": alphabet}


def with_names(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Returns the tokeniser in the form of transformers, with the names of its special tokens."""
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=PAD)


def load_tokenizer(source: str, key: str = "data.tokenizer") -> PreTrainedTokenizerBase:
    """Loads the tokeniser at `source`, a hub id or a folder. `key`: what the messages name as its place. Raises
    ConfigError if it cannot be read or has no begin, end or padding token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except Exception as error:  # a damaged tokenizer.json raises plain Exception
        reason = first_line(error)
        raise ConfigError(
            f"{key}={source} cannot be read ({reason}); allowed: a hub id or folder of a tokeniser"
        ) from error
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if getattr(tokenizer, name) is None:
            raise ConfigError(f"{key}={source} has no {name}; allowed: tokenisers with begin, end and padding tokens")
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Replaces `folder`: writes a new folder beside it, then renames it. Raises NotWritten."""
    new = folder.with_name(f".{folder.name}.{os.getpid()}")
    with writing(folder):
        try:
            tokenizer.save_pretrained(new)
            if folder.exists():
                shutil.rmtree(folder)
            new.rename(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], context_length: int) -> Tensor:
    """Returns token ids, (N, T) int64: begin, the text (truncated if it is too long), end, padding.

    The tokeniser may pad with its end token, as CLIP's does: the first end token of a row ends its text. A text that
    spells a special token, such as `<|endoftext|>`, is encoded like any other text.
    """
    begin, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    rows = [[begin, *ids[: context_length - 2], end] for ids in token_ids(tokenizer, texts)]
    return torch.tensor([row + [pad] * (context_length - len(row)) for row in rows], dtype=torch.long).reshape(
        len(rows), context_length
    )


def count_truncated(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], context_length: int) -> int:
    """Returns the number of texts that `encode` truncates. It is remembered in the user's cache folder."""
    if not texts:
        return 0
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    versions = f"tokenizers {tokenizers.__version__}, transformers {transformers.__version__}"
    backend = getattr(tokenizer, "backend_tokenizer", None)

    def count() -> str:
        return str(sum(len(ids) > context_length - 2 for ids in token_ids(tokenizer, texts)))

    if backend is None:  # in Python, which has no text that determines what it does
        return int(count())
    how = (versions, type(tokenizer).__qualname__, backend.to_str(), f"{special}", f"{context_length}")
    return int(remembered("truncated", (*how, *texts), count))


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Returns the token ids of each text, without begin, end and padding."""
    options = {
        "add_special_tokens": False,
        "return_attention_mask": False,
        "verbose": False,
        "split_special_tokens": True,
    }
    rows = tokenizer(list(texts), **options)["input_ids"]
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    # Some tokenisers (SentencePiece) have the spelling of a special token in their vocabulary as a word.
    return [ids if special.isdisjoint(ids) else [token for token in ids if token not in special] for ids in rows]


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """Returns the token ids that towers and encoder-decoder use."""
    return SpecialTokens(tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, len(tokenizer))


def tokenizer_name(tokenizer: str | None, pretrained: str | None) -> str | None:
    """Returns the hub id or folder of an existing tokeniser: `data.tokenizer`, else that of `backbone.pretrained`. None
    if the run trains its own tokeniser.
    """
    return tokenizer or pretrained


def new_tokenizer(name: str | None, vocab_size: int, source: Source) -> PreTrainedTokenizerBase:
    """Loads the tokeniser `name`, a hub id or a folder. None: trains one of at most `vocab_size` tokens on the captions
    of `source`, unless an earlier run has trained it.
    """
    if name:
        return load_tokenizer(name)
    rows = range(min(source.size("train"), TOKENIZER_SAMPLES))
    return remembered_tokenizer([text for texts in source.texts("train", rows) for text in texts], vocab_size)
