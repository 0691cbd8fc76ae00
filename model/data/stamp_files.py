"""Reads the folder of Tux Paint's stamps: which pictures it has, and the sentences beside them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from model.data.text import clean
from model.errors import ConfigError

# Where packages install the stamps.
FOLDERS = ("/usr/share/tuxpaint/stamps", "/usr/local/share/tuxpaint/stamps")
ADVICE = "apt-get install tuxpaint-stamps-default"
# The language of the first line of a text. Every other line is `<language>.utf8=<sentence>`.
FIRST = "en"
LINE = re.compile(r"([A-Za-z_@]+)\.utf8=(.*)")


class Stamp(NamedTuple):
    """A picture and what it shows."""

    picture: Path
    category: str
    """The folder in the top folder that contains it."""
    sentences: dict[str, str]
    """Language -> sentence."""


class Stamps(NamedTuple):
    """The content of the folder."""

    stamps: list[Stamp]
    """In the order of their paths."""
    drawings: int
    """The number of SVG files, which are not read."""
    without_text: int
    """The number of PNG files without a text, among them the mirror images of other files."""


def find_folder(root: str | None) -> Path:
    """Returns the folder of stamps: `root`, or (root=None) the folder that a package has installed. Raises ConfigError,
    which says what to install, if there is none.
    """
    if root is not None:
        folder = Path(root).expanduser()
        if not folder.is_dir():
            raise ConfigError(f"data.root={root} is no folder; allowed: a folder of stamps, or null ({ADVICE})")
        return folder
    for installed in map(Path, FOLDERS):
        if installed.is_dir():
            return installed
    raise ConfigError(f"data=stamps has no folder {FOLDERS[0]}; allowed: {ADVICE}, or data.root=<folder of stamps>")


def read_stamps(folder: Path) -> Stamps:
    """Returns the stamps below `folder`: the PNG files `<name>.png` that have a text `<name>.txt`."""
    stamps: list[Stamp] = []
    drawings = without_text = 0
    for top, folders, names in os.walk(folder):
        folders.sort()
        place = Path(top)
        category = place.relative_to(folder).parts[:1]
        for name in sorted(names):
            path = place / name
            drawings += path.suffix == ".svg"
            if path.suffix != ".png" or not category:
                continue
            sentences = read_sentences(path.with_suffix(".txt"))
            without_text += not sentences
            if sentences:
                stamps.append(Stamp(path, category[0], sentences))
    return Stamps(stamps, drawings, without_text)


def read_sentences(path: Path) -> dict[str, str]:
    """Returns language -> sentence of a text file, without empty sentences. Empty if there is no such file."""
    if not path.is_file():
        return {}
    first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    sentences = {FIRST: clean(first)}
    for match in filter(None, map(LINE.match, lines)):
        sentences[match[1]] = clean(match[2])
    return {language: sentence for language, sentence in sentences.items() if sentence}


def with_languages(stamps: Sequence[Stamp], languages: Sequence[str]) -> list[Stamp]:
    """Returns the stamps that have a sentence in every language. Raises ConfigError for a language that none has."""
    for language in languages:
        if not any(language in stamp.sentences for stamp in stamps):
            known = sorted({known for stamp in stamps for known in stamp.sentences})
            raise ConfigError(f"data.languages has {language}, which no stamp has; allowed: {', '.join(known)}")
    return [stamp for stamp in stamps if all(language in stamp.sentences for language in languages)]
