"""Translates values of the old scripts' flags. The functions with a `key` return a function that translates a typed
value into today's keys and values, and raises ValueError for a value that the flag did not accept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Translate = Callable[[str], Mapping[str, str]]
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
SPLIT_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def boolean(typed: str) -> bool:
    """Reads True, False, true, false, 1 or 0. Raises ValueError for other words."""
    if typed.lower() not in BOOLEANS:
        raise ValueError(typed)
    return BOOLEANS[typed.lower()]


def switch(key: str, yes: str, no: str) -> Translate:
    """Translates a boolean into one of two values of `key`."""
    return lambda typed: {key: yes if boolean(typed) else no}


def choice(key: str, values: Mapping[str, str]) -> Translate:
    """Translates one of a few values."""

    def translate(typed: str) -> Mapping[str, str]:
        if typed.lower() not in values:
            raise ValueError(typed)
        return {key: values[typed.lower()]}

    return translate


def integer(key: str, least: int, most: int) -> Translate:
    """Translates a whole number in a range."""

    def translate(typed: str) -> Mapping[str, str]:
        value = int(typed)
        if not least <= value <= most:
            raise ValueError(typed)
        return {key: str(value)}

    return translate


def number(key: str, *, least: float, above: bool = False, most: float = 1.7e308) -> Translate:
    """Translates a number in a range; keeps the form in which it was typed. above: whether it must exceed `least`."""

    def translate(typed: str) -> Mapping[str, str]:
        value = float(typed)
        if (
            not (least < value if above else least <= value)
            or value > most
            or not re.fullmatch(r"\+?[\d.]+(e[-+]?\d+)?", typed, flags=re.I)
        ):
            raise ValueError(typed)
        return {key: typed.lstrip("+")}

    return translate


def splits(typed: str) -> Mapping[str, str]:
    """Translates None, or a list of splits in the form of Python, JSON or comma-separated words. Raises ValueError for
    other words.
    """
    words = re.findall(r"\w+", typed)
    if words == ["None"]:
        return {}
    if not words or any(word not in SPLIT_NAMES for word in words):
        raise ValueError(typed)
    return {"evaluate": f"[{','.join(dict.fromkeys(SPLIT_NAMES[word] for word in words))}]"}


def text(key: str) -> Translate:
    """Translates any text that is not empty."""

    def translate(typed: str) -> Mapping[str, str]:
        if not typed:
            raise ValueError(typed)
        return {key: typed}

    return translate
