"""The line in which an entry of a JSON file begins. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterator


def lines_of(text: str, name: str, numbers: set[int]) -> dict[int, int]:
    """Entry number in the top-level list `name` -> the line that it begins in, from 1. `text` is valid JSON with that
    list.
    """
    decoder, lines, at, line = json.JSONDecoder(), {}, 0, 1
    for number, start in enumerate(starts_in(text, name, decoder)):
        if number in numbers:
            line += text.count("\n", at, start)
            at = start
            lines[number] = line
        if len(lines) == len(numbers):
            break
    return lines


def starts_in(text: str, name: str, decoder: json.JSONDecoder) -> Iterator[int]:
    """The places in `text` where the entries of the top-level list `name` begin. Of several lists with this name, the
    last one is used, as by `json.loads`.
    """
    lists, at = [], after_space(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, after_space(text, at))
        at = after_space(text, after_space(text, at) + 1)
        if key == name:
            lists.append(at)
        _, at = decoder.raw_decode(text, at)
        at = after_separator(text, at)
    at = after_space(text, lists[-1] + 1)
    while text[at] != "]":
        yield at
        _, at = decoder.raw_decode(text, at)
        at = after_separator(text, at)


def after_separator(text: str, at: int) -> int:
    """The first place at or after `at` that is no comma and no white space: the next entry, or the closing bracket."""
    at = after_space(text, at)
    return after_space(text, at + 1) if text[at] == "," else at


def after_space(text: str, at: int) -> int:
    """The first place at or after `at` that is no white space."""
    while text[at] in " \t\r\n":
        at += 1
    return at
