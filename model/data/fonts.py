"""Finds the system's colour-emoji font, without reading it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from model.errors import ConfigError

FONT_NAME = "NotoColorEmoji.ttf"
FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "~/Library/Fonts",
    "/Library/Fonts",
)
ADVICE = "apt-get install fonts-noto-color-emoji"


def find_font(root: str | None) -> Path:
    """Returns the font file: `root` itself, or the font in the folder `root`, or (root=None) the font that is installed
    on the system.

    Raises ConfigError, which says what to install, if there is no such font.
    """
    if root is not None:
        path = Path(root).expanduser()
        if path.is_file():
            return path
        font = search([path])
        if font is None:
            raise ConfigError(
                f"data.root={root} is no font and holds no {FONT_NAME}; allowed: a font file or a folder with it, or "
                f"null ({ADVICE})"
            )
        return font
    font = search(Path(folder).expanduser() for folder in FOLDERS) or ask_fontconfig()
    if font is None:
        raise ConfigError(
            f"data=emoji is not drawable without {FONT_NAME}; allowed: {ADVICE}, or data.root=<font file>"
        )
    return font


def search(folders: Iterable[Path]) -> Path | None:
    """Returns the font in the first of `folders` that contains it, at any depth."""
    for top in folders:
        for folder, _, names in os.walk(top):
            if FONT_NAME in names:
                return Path(folder) / FONT_NAME
    return None


def ask_fontconfig() -> Path | None:
    """Returns the font that fontconfig finds. None if fontconfig is not installed or finds no such font."""
    if shutil.which("fc-list") is None:
        return None
    answer = subprocess.run(
        ["fc-list", ":family=Noto Color Emoji", "file"], capture_output=True, text=True, check=False
    )
    files = [Path(line.split(":")[0].strip()) for line in answer.stdout.splitlines()]
    return next((file for file in sorted(files) if file.is_file()), None)
