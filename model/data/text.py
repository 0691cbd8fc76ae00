"""Text from files: captions made safe for a tokeniser, and any text made safe for a message. Standard library only."""

from __future__ import annotations

import re

# Half of a pair that UTF-16 writes one character with. JSON can hold it alone; UTF-8, and so every tokeniser and every file, cannot.
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Control characters, NUL among them: they separate words, as spaces do.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")
# Characters of a foreign text that a message shows.
SHOWN = 120


def clean(text: str) -> str:
    """A caption as a model reads it: one space between words, none at the ends, control characters as spaces, lone surrogates replaced by U+FFFD."""
    if not text.isprintable():  # almost no caption: the test is faster than the replacements
        text = LONE_SURROGATE.sub(REPLACEMENT, CONTROL.sub(" ", text))
    return " ".join(text.split())


def has_lone_surrogate(text: str) -> bool:
    """Whether `clean` replaces a character of `text`."""
    return not text.isprintable() and LONE_SURROGATE.search(text) is not None


def shown(text: str) -> str:
    """A foreign text, such as a file's name, as a part of one line: what cannot be printed is escaped, what is long is cut."""
    found = escaped(text[: SHOWN + 1])
    return found if len(text) <= SHOWN and len(found) <= SHOWN else f"{found[:SHOWN]}…"


def beginning(text: str, most: int) -> str:
    """The first characters of a text, `most` at most, the last of them … where it is cut: not every script has spaces to cut at. Lone surrogates
    are replaced by U+FFFD."""
    text = LONE_SURROGATE.sub(REPLACEMENT, text[: most + 1])
    return text if len(text) <= most else f"{text[: most - 1]}…"


def escaped(text: str) -> str:
    """The same, as long as it is."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode("ascii") for character in text)
