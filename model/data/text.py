"""Text from files: prepares captions for a tokeniser, and any text for a message. Standard library only."""

from __future__ import annotations

import re

# Half of a pair with which UTF-16 writes one character. JSON can contain such a half. UTF-8, which every tokeniser and
# every file of a run uses, cannot.
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Control characters, including NUL. They separate words, as spaces do.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")
# The most characters of a text from a file that a message contains.
MOST_SHOWN = 120


def clean(text: str) -> str:
    """Returns a caption as a model reads it: one space between words, no space at either end, control characters as
    spaces, lone surrogates replaced by U+FFFD.
    """
    if not text.isprintable():  # true of very few captions: the test is faster than the replacements
        text = LONE_SURROGATE.sub(REPLACEMENT, CONTROL.sub(" ", text))
    return " ".join(text.split())


def has_lone_surrogate(text: str) -> bool:
    """Returns whether `clean` replaces a character of `text`."""
    return not text.isprintable() and LONE_SURROGATE.search(text) is not None


def one_line(text: str) -> str:
    """Returns a text from a file, such as a file name, for use within one line of a message: characters that cannot be
    printed are escaped, and long texts are truncated.
    """
    start = escape(text[: MOST_SHOWN + 1])
    return start if len(text) <= MOST_SHOWN and len(start) <= MOST_SHOWN else f"{start[:MOST_SHOWN]}…"


def beginning(text: str, most: int) -> str:
    """Returns the first `most` characters of a text. A longer text ends with …, which is one of these characters. It is
    not truncated at a space, because not every script has spaces. Lone surrogates are replaced by U+FFFD.
    """
    text = LONE_SURROGATE.sub(REPLACEMENT, text[: most + 1])
    return text if len(text) <= most else f"{text[: most - 1]}…"


def escape(text: str) -> str:
    """Returns the whole text. Characters that cannot be printed are escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
