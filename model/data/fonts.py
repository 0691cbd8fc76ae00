"""Where the system keeps its colour-emoji font. Nothing is read here, only looked for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
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
    """The font file: `root` itself, or in the folder `root`, or (root=None) wherever systems install fonts.

    Raises ConfigError, which says what to install, where there is none.
    """
    if root is not None:
        path = Path(root).expanduser()
        if path.is_file():
            return path
        found = first_in(iter([path]))
        if found is None:
            raise ConfigError(
                f"data.root={root} is no font and holds no {FONT_NAME}; allowed: a font file or a folder with it, or "
                f"null ({ADVICE})"
            )
        return found
    found = first_in(Path(folder).expanduser() for folder in FOLDERS) or from_fontconfig()
    if found is None:
        raise ConfigError(
            f"data=emoji is not drawable without {FONT_NAME}; allowed: {ADVICE}, or data.root=<font file>"
        )
    return found


def first_in(folders: Iterator[Path]) -> Path | None:
    """The font in the first of `folders` that holds it, at any depth."""
    for folder in folders:
        for place, _, names in os.walk(folder):
            if FONT_NAME in names:
                return Path(place) / FONT_NAME
    return None


def from_fontconfig() -> Path | None:
    """What the system's own search for this font answers, where there is one."""
    if shutil.which("fc-list") is None:
        return None
    answer = subprocess.run(
        ["fc-list", ":family=Noto Color Emoji", "file"], capture_output=True, text=True, check=False
    )
    files = [Path(line.split(":")[0].strip()) for line in answer.stdout.splitlines()]
    return next((file for file in sorted(files) if file.is_file()), None)
