"""The picture files and the texts that a command is given. Imports no large package."""

from __future__ import annotations

import os
from pathlib import Path

from model.errors import ConfigError, first_line

# The ends of the names of picture files, in lower case.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def picture_files(place: Path) -> list[str]:
    """Returns the paths of the picture files that `place` means, in a fixed order.

    place: a folder, whose picture files and those of its subfolders are meant, in alphabetical order, without hidden
    ones; or a text file with one path in each line, relative to the folder of that file. Raises ConfigError if there
    are none.
    """
    if place.is_dir():
        return folder_files(place)
    return [str(place.parent / line) for line in lines_of(place, "--images", "a folder, or a text file of paths")]


def folder_files(folder: Path) -> list[str]:
    """Returns the paths of the picture files in a folder and its subfolders."""
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        pictures = (name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))
        files += [os.path.join(place, name) for name in pictures]
    if not files:
        raise ConfigError(f"--images={folder} has no picture file; allowed: files that end with {', '.join(SUFFIXES)}")
    return sorted(files)


def lines_of(file: Path, option: str, allowed: str) -> list[str]:
    """Returns the lines of a text file (UTF-8) that are not empty. Raises ConfigError if the file cannot be read or has
    no such line. option, allowed: for the message.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise ConfigError(f"{option}={file} cannot be read ({reason}); allowed: {allowed}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ConfigError(f"{option}={file} is empty; allowed: {allowed}")
    return lines
