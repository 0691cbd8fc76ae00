"""Checks that shards have what the configuration asks for. Every function raises ConfigError or returns None."""

from __future__ import annotations

from model.data.part_report import PartReport
from model.data.shard_part import PartOptions, ShardPart
from model.data.source import check_available
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
        check_captions(report, options)
    first = next((f" ({one_line(name)} {reason})" for name, reason in reasons.items()), "")
    raise ConfigError(
        f"{key}: no sample of the shards can be used{first}; allowed: .tar files with a picture and a txt or json for "
        "each sample"
    )


def check_captions(report: PartReport, options: PartOptions) -> None:
    """Raises ConfigError for more captions than any sample of a part has."""
    most = max(report.captions_of_images)
    keys = ", ".join(options.rules.caption_keys)
    allowed = f"1 to {most}" if most else f"shards whose samples have a txt, or a json with {keys}"
    raise ConfigError(
        f"data.captions={options.captions} is more than any sample of {report.name} has; allowed: {allowed}"
    )


def check_size(part: ShardPart, split: str, available: int, size: int | None) -> None:
    """Raises ConfigError if a split needs more than the `available` samples."""
    report = part.report
    what = f"samples of {report.name}"
    if size is None and available == 0:
        raise ConfigError(
            f"data.root: val and test take all {len(part):,} {what}; allowed: smaller data.val_size and data.test_size"
        )
    check_available(f"data.{split}_size", size or 0, available, what, report.reasons())
