"""Checks that shards have what the configuration asks for. Every function raises ConfigError or returns None."""

from __future__ import annotations

from collections.abc import Sequence

from model.data.shard_part import PartOptions, ShardPart
from model.data.source import SplitSizes, check_available
from model.data.text import one_line
from model.errors import ConfigError


def check_part(part: ShardPart, options: PartOptions) -> None:
    """Raises ConfigError if no sample of a part can be used."""
    if len(part):
        return
    report = part.report
    key = f"data.{'root' if report.name == 'train' else report.name}"
    reasons = {**report.damaged_files, **report.unreadable}
    if report.few_captions and not reasons:
        check_captions(part, options)
    first = next((f" ({one_line(name)} {reason})" for name, reason in reasons.items()), "")
    raise ConfigError(
        f"{key}: no sample of the shards can be used{first}; allowed: .tar files with a picture and a txt or json for "
        "each sample"
    )


def check_captions(part: ShardPart, options: PartOptions) -> None:
    """Raises ConfigError for more captions than any sample of a part has."""
    report, most = part.report, part.most_captions
    keys = ", ".join(options.rules.caption_keys)
    allowed = f"1 to {most}" if most else f"shards whose samples have a txt, or a json with {keys}"
    raise ConfigError(
        f"data.captions={options.captions} is more than any sample of {report.name} has; allowed: {allowed}"
    )


def check_shared(part: ShardPart, splits: Sequence[str], sizes: SplitSizes) -> None:
    """Raises ConfigError if splits that share a part need more samples than it has.

    splits: those that share the part; each of them needs at least one sample.
    """
    available = len(part)
    held_out = [split for split in splits if split != "train"]
    for number, split in enumerate(held_out):
        others = len(splits) - 1 - number
        check_size(part, split, available - others, getattr(sizes, split))
        available -= getattr(sizes, split)


def check_size(part: ShardPart, split: str, available: int, size: int | None) -> None:
    """Raises ConfigError if a split needs more than the `available` samples."""
    report = part.report
    what = f"samples of {report.name}"
    check_available(f"data.{split}_size", size or 0, available, what, report.reasons())
