"""The paths of shards: folders, and patterns with braces and wildcards. Standard library only."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from model.errors import ConfigError

ALLOWED = "a folder with .tar files, a path or pattern such as /data/train-{000..127}.tar, or a list of these"
RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(\d+))?")
ADDRESS = re.compile(r"\w+://|pipe:")
# The most paths of one range. A larger range is a typing mistake.
MOST_PATHS = 10_000_000
# The names of the shards of each split in one folder, as `python -m model.data.pack` writes them.
OWN_SHARDS = {"val": "val-*.tar", "test": "test-*.tar"}


def expand_braces(pattern: str) -> Iterator[str]:
    """Yields the texts for which a pattern stands, as shells do: `{000..127}` is a range, whose zeros in front give the
    least number of digits, `{0..9..3}` a range in steps, and `{a,b}` alternatives, which can contain braces. Braces
    without `..` and without a comma stay as they are.

    Raises ValueError for a brace that is not closed.
    """
    parts: list[Iterable[str]] = []
    position = 0
    while (start := pattern.find("{", position)) >= 0:
        end = closing_brace(pattern, start)
        parts += [[pattern[position:start]], list(alternatives(pattern[start + 1 : end]))]
        position = end + 1
    parts.append([pattern[position:]])
    return map("".join, product(*parts))


def closing_brace(pattern: str, start: int) -> int:
    """Returns the position of the brace that closes the one at `start`. Raises ValueError if there is none."""
    depth = 0
    for position in range(start, len(pattern)):
        depth += {"{": 1, "}": -1}.get(pattern[position], 0)
        if depth == 0:
            return position
    raise ValueError("has a brace that is not closed")


def alternatives(content: str) -> Iterator[str]:
    """Yields the texts for which the content of a brace stands."""
    numbers = RANGE.fullmatch(content)
    pieces = split_at_commas(content)
    if numbers:
        yield from number_range(*numbers.groups())
    elif len(pieces) > 1:
        for piece in pieces:
            yield from expand_braces(piece)
    else:
        yield from (f"{{{inner}}}" for inner in expand_braces(content))


def number_range(first: str, last: str, step: str | None) -> Iterator[str]:
    """Yields the numbers from `first` to `last`, both included."""
    padded = any(len(number.lstrip("-")) > 1 and number.lstrip("-").startswith("0") for number in (first, last))
    digits = max(len(first), len(last)) if padded else 0
    start, end, stride = int(first), int(last), max(1, int(step or 1))
    if abs(end - start) // stride >= MOST_PATHS:
        raise ValueError(f"has a range of more than {MOST_PATHS:,} numbers")
    numbers = range(start, end + 1, stride) if start <= end else range(start, end - 1, -stride)
    return (f"{number:0{digits}d}" for number in numbers)


def split_at_commas(content: str) -> list[str]:
    """Divides the content of a brace at its commas, without those within further braces."""
    pieces, depth = [""], 0
    for character in content:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def shard_paths(key: str, value: Any, exclude: Sequence[str] = ()) -> list[str]:
    """Returns the paths of the shards that the value of `key` names: those of a folder and of a wildcard in the order
    of their names, the others in the order of the value.

    exclude: names of files, with wildcards, that are left out of a folder. Raises ConfigError if a path is missing, is
    named twice, or is an address of a network.
    """
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, Sequence) or not patterns or not all(isinstance(one, str) and one for one in patterns):
        raise ConfigError(f"{key}={'null' if value is None else value} names no shards; allowed: {ALLOWED}")
    paths: list[str] = []
    for pattern in patterns:
        if ADDRESS.match(pattern):
            raise ConfigError(f"{key}={pattern} is not a local path; allowed: {ALLOWED}")
        try:
            expanded = list(expand_braces(os.path.expanduser(pattern)))
        except ValueError as error:
            raise ConfigError(f"{key}={pattern} {error}; allowed: {ALLOWED}") from error
        for path in expanded:
            paths += paths_at(key, pattern, path, exclude)
    require_different(key, paths)
    return paths


def paths_at(key: str, pattern: str, path: str, exclude: Sequence[str]) -> list[str]:
    """Returns the shards at one expanded path of the value of `key`. Raises ConfigError if there are none."""
    if os.path.isdir(path):
        without = {file for name in exclude for file in Path(path).glob(name)}
        found = sorted(str(file) for file in Path(path).glob("*.tar") if file not in without)
    elif glob.has_magic(path) and not os.path.exists(path):
        found = sorted(glob.glob(path, recursive=True))
    else:
        found = [path] if os.path.exists(path) else []
    if found:
        return found
    compressed = next((file for end in ("gz", "bz2", "xz", "zst") for file in Path(path).glob(f"*.{end}")), None)
    if os.path.isdir(path) and compressed is not None:
        raise compressed_shard(key, str(compressed))
    what = f"the folder {path} has no .tar file" if os.path.isdir(path) else f"{path} does not exist"
    raise ConfigError(f"{key}={pattern}: {what}; allowed: {ALLOWED}")


def compressed_shard(key: str, path: str, reason: str = "is compressed") -> ConfigError:
    """Returns the error for a compressed shard."""
    return ConfigError(
        f"{key}: the shard {path} {reason}, so that its files have no fixed place; allowed: uncompressed .tar files\n"
        "decompress it first (gunzip, bunzip2, unxz or unzstd); pictures are compressed already"
    )


def require_different(key: str, paths: Sequence[str]) -> None:
    """Raises ConfigError if a path occurs twice."""
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise ConfigError(f"{key} names the shard {path} twice; allowed: each shard once")
        seen.add(path)


def split_paths(root: Any, val: Any, test: Any) -> dict[str, list[str]]:
    """Returns the shards of each part: "train", and "val" and "test" where these have shards of their own, which the
    keys `data.val` and `data.test` name, or the names of the files if `root` is a folder. Raises ConfigError.
    """
    parts: dict[str, list[str]] = {}
    exclude: list[str] = []
    for name, value in (("val", val), ("test", test)):
        if value is not None:
            parts[name] = shard_paths(f"data.{name}", value)
        elif isinstance(root, str) and (found := sorted(Path(root).expanduser().glob(OWN_SHARDS[name]))):
            parts[name] = list(map(str, found))
            exclude.append(OWN_SHARDS[name])
    parts = {"train": shard_paths("data.root", root, exclude), **parts}
    owner: dict[str, str] = {}
    for name, paths in parts.items():
        for path in paths:
            if owner.setdefault(os.path.realpath(path), name) != name:
                raise ConfigError(f"data.{name}: the shard {path} is also one of the others; allowed: each shard once")
    return parts
