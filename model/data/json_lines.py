"""Finds the entries of a list in a JSON file and the lines in which they begin. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def entry_lines(text: str, name: str, numbers: set[int]) -> dict[int, int]:
    """Returns number of an entry -> the line in which it begins, for the entries `numbers` of the list `name`. For the
    arguments, see `entries`. Stops at the last of `numbers`.
    """
    lines: dict[int, int] = {}
    for number, (line, _) in enumerate(entries(text, name)):
        if number in numbers:
            lines[number] = line
        if len(lines) == len(numbers):
            break
    return lines


def entries(text: str, name: str) -> Iterator[tuple[int, Any]]:
    """Yields the line in which an entry begins, counted from 1, and the entry.

    text: valid JSON; name: a list of the top-level object. If several lists have this name, the last one is used, as
    `json.loads` does.
    """
    decoder = json.JSONDecoder()
    position = list_start(text, name, decoder)
    line = 1 + text.count("\n", 0, position)
    while text[position] != "]":
        start = position
        entry, end = decoder.raw_decode(text, start)
        yield line, entry
        position = skip_separator(text, end)
        line += text.count("\n", start, position)


def list_start(text: str, name: str, decoder: json.JSONDecoder) -> int:
    """Returns the position of the first entry of the last top-level list `name`, or of the bracket that closes it."""
    start, position = 0, skip_space(text, text.index("{") + 1)
    while text[position] != "}":
        key, position = decoder.raw_decode(text, skip_space(text, position))
        position = skip_space(text, skip_space(text, position) + 1)  # behind the colon
        if key == name:
            start = position
        _, position = decoder.raw_decode(text, position)
        position = skip_separator(text, position)
    return skip_space(text, start + 1)


def skip_separator(text: str, position: int) -> int:
    """Returns the first position at or after `position` with neither a comma nor white space."""
    position = skip_space(text, position)
    return skip_space(text, position + 1) if text[position] == "," else position


def skip_space(text: str, position: int) -> int:
    """Returns the first position at or after `position` without white space."""
    while text[position] in " \t\r\n":
        position += 1
    return position
