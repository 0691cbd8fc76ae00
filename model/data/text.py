"""Text from files: prepares captions for a tokeniser, and any text for a message. Standard library only."""

from __future__ import annotations

import re

# Half of a pair with which UTF-16 writes one character. JSON can contain such a half; UTF-8, and so every tokeniser and
# every file here, cannot.
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Control characters, NUL among them: they separate words, as spaces do.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")
# The most characters of a text from a file that a message shows.
SHOWN = 120


def clean(text: str) -> str:
    """A caption as a model reads it: one space between words, none at the ends, control characters as spaces, lone
    surrogates replaced by U+FFFD.
    """
    if not text.isprintable():  # almost no caption: the test is faster than the replacements
        text = LONE_SURROGATE.sub(REPLACEMENT, CONTROL.sub(" ", text))
    return " ".join(text.split())


def has_lone_surrogate(text: str) -> bool:
    """Whether `clean` replaces a character of `text`."""
    return not text.isprintable() and LONE_SURROGATE.search(text) is not None


def shown(text: str) -> str:
    """A text from a file, such as a file's name, for use within one line: escapes characters that cannot be printed,
    and shortens long texts.
    """
    found = escaped(text[: SHOWN + 1])
    return found if len(text) <= SHOWN and len(found) <= SHOWN else f"{found[:SHOWN]}…"


def beginning(text: str, most: int) -> str:
    """The first `most` characters of a text. A longer text ends with … within these characters, not at a space, which
    not every script has. Lone surrogates are replaced by U+FFFD.
    """
    text = LONE_SURROGATE.sub(REPLACEMENT, text[: most + 1])
    return text if len(text) <= most else f"{text[: most - 1]}…"


def escaped(text: str) -> str:
    """The whole text with characters that cannot be printed escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
