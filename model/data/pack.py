"""``python -m model.data.pack data=coco data.root=<folder> <folder of the shards>``: writes the pictures and captions
of any source as WebDataset shards, which data=shards reads.

It takes settings of the data as train.py does, and these options:

  --shard-mb N   megabytes of a shard, at most (256)
  --samples N    samples of a shard, at most (10000)

The same command continues after it was stopped. Exit codes: 0 all samples are packed, 1 a file cannot be written or
read, 2 a mistake in the settings, 128 + n stopped by signal n.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from model.errors import ConfigError, RunFailed, at_least
from model.interruption import Interrupted, listening

# Settings that decide what is packed.
SETTINGS = re.compile(r"(data|backbone)(\..+)?=.*|seed=.*", re.DOTALL)
ALLOWED_SETTINGS = "data=…, data.<key>=…, backbone.<key>=…, seed=…"
DEFAULTS = {"--shard-mb": 256.0, "--samples": 10_000.0}
MEGABYTE = 1_000_000


class Arguments(NamedTuple):
    """What the command line asks for."""

    settings: list[str]
    folder: Path
    shard_bytes: int
    """Bytes of a shard, at most."""
    shard_samples: int
    """Samples of a shard, at most."""


def main(arguments: Sequence[str]) -> int:
    """Writes the shards. Returns the exit code."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    from model.config.messages import CONFIG_ERRORS, two_lines
    from model.data.pack_shards import ShardLimits
    from model.data.pack_source import pack

    try:
        with listening():
            settings, folder, size, samples = parsed(arguments)
            print(pack(settings, folder, ShardLimits(size, samples)))
            return 0
    except Interrupted as interrupted:
        print(f"{interrupted.reason}\ngive the same command again: complete shards are kept", file=sys.stderr)
        return interrupted.exit_code
    except CONFIG_ERRORS as error:
        print(two_lines(error), file=sys.stderr)
        return 2
    except RunFailed as failure:
        print(failure, file=sys.stderr)
        return 1


def parsed(arguments: Sequence[str]) -> Arguments:
    """Returns what the command line asks for. Raises ConfigError."""
    from model.config.arguments import check_override
    from model.config.compose import groups

    settings, folders, values, words = [], [], dict(DEFAULTS), list(arguments)
    while words:
        word = words.pop(0)
        flag, _, value = word.partition("=")
        if flag.startswith("-"):
            values[flag] = option(flag, value or (words.pop(0) if words else ""))
        elif "=" in word:
            check_override(word, groups())
            if not SETTINGS.fullmatch(word):
                raise ConfigError(f"{word} is not a setting of the data; allowed: {ALLOWED_SETTINGS}")
            settings.append(word)
        else:
            folders.append(word)
    if len(folders) != 1:
        named = f"{' and '.join(folders)} are several folders" if folders else "no folder for the shards is named"
        raise ConfigError(f"{named}; allowed: settings of the data and one folder")
    return Arguments(settings, Path(folders[0]), int(values["--shard-mb"] * MEGABYTE), int(values["--samples"]))


def option(flag: str, value: str) -> float:
    """Returns the value of an option. Raises ConfigError for an unknown option, and for a value that is not allowed."""
    if flag not in DEFAULTS:
        raise ConfigError(f"{flag} is not known; allowed: {', '.join(DEFAULTS)}")
    try:
        number = float(value) if flag == "--shard-mb" else int(value)
    except ValueError:
        raise ConfigError(f"{flag}={value} is not a number; allowed: a number above 0") from None
    at_least(flag, number, 0.001 if flag == "--shard-mb" else 1)
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
