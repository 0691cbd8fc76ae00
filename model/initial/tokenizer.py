"""The tokeniser of a run: a named one, that of an earlier run, or a new one."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from model.config.schema import RunConfig
from model.data.source import Source
from model.data.tokenizer import load_tokenizer, new_tokenizer, save_tokenizer, tokenizer_name
from model.errors import ConfigError
from model.initial.source import KEY, InitialWeights
from model.launch import first_process
from model.record.repairs import move_damaged


def make_tokenizer(
    config: RunConfig, source: Source, folder: Path, start: Path | None, initial: InitialWeights | None
) -> PreTrainedTokenizerBase:
    """Returns the tokeniser that the configuration names, that of the pretrained backbone, that of the continued run,
    that of init_from, or a new one, trained on the captions. The last two are saved in the folder of the run.

    start: the checkpoint that the run continues from or evaluates; initial: the weights that a new run starts from. A
    run whose own tokeniser is damaged trains it again, which gives the same tokeniser. Raises ConfigError where the
    tokeniser of another run, or of a run that is only evaluated, is damaged.
    """
    named = tokenizer_name(config.data.tokenizer, config.backbone.pretrained)
    if named:
        return load_tokenizer(named)
    own = folder / "tokenizer"
    earlier = start.parent.parent / "tokenizer" if start is not None else None
    if earlier is not None and earlier.exists():
        try:
            return load_tokenizer(str(earlier))
        except ConfigError:
            if earlier.resolve() != own.resolve() or not config.train or config.init_from is not None:
                raise
        if first_process():
            move_damaged(folder, own, "it cannot be read", "it is trained again, from the same captions")
    if initial is not None and initial.tokenizer is not None:
        tokenizer = load_tokenizer(initial.tokenizer, KEY)
    else:
        tokenizer = new_tokenizer(None, config.data.vocab_size, source)
    if first_process() and not config.trainer.fast_dev_run:
        save_tokenizer(tokenizer, own)
    return tokenizer


def other_tokens(initial: InitialWeights, used: PreTrainedTokenizerBase, named: str | None) -> str | None:
    """Returns why weights that read token ids cannot be used with the tokeniser `used`, as a clause; None if they can.

    named: the tokeniser that the configuration names. It is trusted if that of `initial` is not known.
    """
    if initial.tokenizer is None:
        return None if named else "its tokeniser is not known (data.tokenizer=<folder> names it)"
    if named is None or named == initial.tokenizer:
        return None
    theirs = load_tokenizer(initial.tokenizer, KEY)
    special = ("bos_token_id", "eos_token_id", "pad_token_id")
    same = theirs.get_vocab() == used.get_vocab() and all(
        getattr(theirs, name) == getattr(used, name) for name in special
    )
    return None if same else f"its tokeniser ({initial.tokenizer}) has other tokens than {named}"
