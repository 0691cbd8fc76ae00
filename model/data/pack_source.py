"""Writes all splits of a source as shards, and says how to train on them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from model.config.compose import PROGRAM, composed_run
from model.config.schema import RunConfig
from model.data import check_source, make_source
from model.data.pack_shards import ShardLimits, pack_split
from model.data.shard_folder import CLASSES_FILE, PACK_FILE, read_json
from model.data.source import SPLITS, Source, SourceOptions
from model.errors import ConfigError, RunFailed
from model.record.files import write_whole
from model.views.backbone_sizes import resolved_sizes

# Settings of a run that only need values that fit together.
ANY_RUN = ("model=clip", "loss=stock", "data.batch_size=2")
# Keys of the data that do not change what is packed.
NOT_PACKED = ("batch_size", "num_workers", "tokenizer", "vocab_size")


def pack(settings: list[str], folder: Path, limits: ShardLimits) -> str:
    """Writes the shards of all splits. Returns what was written, and the command that trains on it. Raises ConfigError
    and RunFailed.
    """
    config = composed_run([*ANY_RUN, *settings])
    check_source(config.data)
    image_size = resolved_sizes(config.backbone).image_size
    begun = read_json(folder / PACK_FILE, "a file that this command has written")
    refuse_other_content(folder, begun)
    source = make_source(config.data, SourceOptions(image_size, config.seed))
    begin(folder, source, description(config, source, image_size, limits), begun)
    written = kept = 0
    with progress_bar() as bar:
        for split in SPLITS:
            task = bar.add_task(split, total=source.size(split))
            shards, kept_of_split = pack_split(
                source,
                split,
                folder,
                limits,
                lambda count, task=task: bar.advance(task, count),  # type: ignore[misc]
            )
            written, kept = written + shards, kept + kept_of_split
    samples = ", ".join(f"{source.size(split):,} {split}" for split in SPLITS)
    before = f" ({kept} of them were complete before)" if kept else ""
    return f"{samples} samples in {written} shards{before}\n{train_command(config, source, settings, folder)}"


def progress_bar() -> Progress:
    """Returns a progress bar that counts samples, on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("packing {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def description(config: RunConfig, source: Source, image_size: int, limits: ShardLimits) -> dict[str, Any]:
    """Returns the content of pack.json."""
    data = {key: value for key, value in asdict(config.data).items() if key not in NOT_PACKED}
    return {
        "data": data,
        "seed": config.seed,
        "image_size": image_size,
        "shard_bytes": limits.size,
        "shard_samples": limits.samples,
        "samples": {split: source.size(split) for split in SPLITS},
        "normalization": [list(values) for values in source.normalization],
    }


def refuse_other_content(folder: Path, begun: dict[str, Any] | None) -> None:
    """Raises ConfigError if a folder has files, but none that this command has written."""
    try:
        occupied = begun is None and any(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read ({error.strerror}); allowed: a new folder") from error
    if occupied:
        raise ConfigError(
            f"{folder} has other files; allowed: a new folder, or one that this command has begun to fill"
        )


def begin(folder: Path, source: Source, now: dict[str, Any], begun: dict[str, Any] | None) -> None:
    """Writes pack.json and classes.json. Raises ConfigError if an earlier call had other settings, and RunFailed if the
    files cannot be written.
    """
    for key, value in now.items():
        if begun is not None and begun.get(key) != value:
            raise ConfigError(
                f"{folder} has shards with {key}={json.dumps(begun.get(key))}, now it is {json.dumps(value)}; allowed: "
                "the same settings and data, or another folder"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / PACK_FILE, json.dumps(now, indent=1) + "\n")
        if source.class_names is not None:
            classes = {"names": source.class_names, "prompts": source.prompts}
            write_whole(folder / CLASSES_FILE, json.dumps(classes, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RunFailed(
            f"{folder} cannot be written to ({error.strerror})\nchoose another folder, or make room"
        ) from error


def train_command(config: RunConfig, source: Source, settings: Sequence[str], folder: Path) -> str:
    """Returns the command that trains on the shards."""
    path = str(folder)
    sizes = [f"data.{split}_size={source.size(split)}" for split in ("val", "test")]
    words = [
        *PROGRAM,
        "data=shards",
        f"data.root={path}" if re.fullmatch(r"[\w./-]+", path) else f'data.root="{path}"',
        f"data.captions={source.captions}",
        *sizes,
        f"data.vocab_size={config.data.vocab_size}",
        *([f"model.captions={source.captions}"] if source.captions < 3 else []),
        *(setting for setting in settings if setting.startswith("backbone")),
    ]
    return shlex.join(words)
