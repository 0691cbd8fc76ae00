"""The files beside shards: classes.json names the classes, and pack.json says what `python -m model.data.pack` wrote.

Both are JSON objects, and both are optional. classes.json: `names`, the names of the classes, which the numbers of cls
index; `prompts`, a list of texts for each class, or null. A list of names alone is allowed too. pack.json:
`normalization`, mean and deviation of each colour; and what `pack` needs to continue.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from model.data.squares import CLIP_PIXELS
from model.errors import ConfigError

CLASSES_FILE, PACK_FILE = "classes.json", "pack.json"
ALLOWED_CLASSES = '{"names": [...], "prompts": [[...], ...] or null}, or a list of names'
Normalization = tuple[tuple[float, float, float], tuple[float, float, float]]


class Classes(NamedTuple):
    """The classes of a set of shards."""

    names: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...] | None


def read_json(file: Path, allowed: str) -> Any:
    """Returns the content of a file; None if there is no such file. Raises ConfigError if it cannot be read."""
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read ({error}); allowed: {allowed}") from error


def read_classes(folder: Path) -> Classes | None:
    """Returns the content of classes.json; None if there is no such file. Raises ConfigError for any other content."""
    file = folder / CLASSES_FILE
    content = read_json(file, ALLOWED_CLASSES)
    if content is None:
        return None
    names: Any = content.get("names") if isinstance(content, dict) else content
    prompts: Any = content.get("prompts") if isinstance(content, dict) else None
    if not is_texts(names) or not (
        prompts is None or (isinstance(prompts, list) and len(prompts) == len(names) and all(map(is_texts, prompts)))
    ):
        raise ConfigError(f"{file} does not list classes; allowed: {ALLOWED_CLASSES}")
    return Classes(tuple(names), None if prompts is None else tuple(map(tuple, prompts)))


def is_texts(value: Any) -> bool:
    """Returns whether a value is a list of one or more texts."""
    return isinstance(value, list) and len(value) > 0 and all(isinstance(text, str) for text in value)


def read_normalization(folder: Path) -> Normalization:
    """Returns mean and deviation of each colour from pack.json, or those of the published CLIP models without such a
    file. Raises ConfigError.
    """
    allowed = "a file that python -m model.data.pack has written, or none"
    content = read_json(folder / PACK_FILE, allowed)
    if content is None:
        return CLIP_PIXELS
    try:
        mean, deviation = (tuple(float(value) for value in three) for three in content["normalization"])
        (first, second, third), (width, height, depth) = mean, deviation
    except (LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"{folder / PACK_FILE} has no normalization; allowed: {allowed}") from error
    return (first, second, third), (width, height, depth)
