"""The folder of the user for compiled code, results of picture checks and tokenisers. Standard library only."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def cache_folder() -> Path:
    """Returns `$XDG_CACHE_HOME/nway-clip`, or `~/.cache/nway-clip` without that variable.

    Where that folder is not writable or belongs to another user: a temporary folder of this process.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nway-clip"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid() and os.access(folder, os.W_OK):
            folder.chmod(0o700)
            return folder
    except (OSError, RuntimeError):  # RuntimeError: this user has no home directory
        pass
    return temporary_folder()


@cache
def temporary_folder() -> Path:
    """Makes a folder that is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="nway-clip-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def is_private(path: Path) -> bool:
    """Returns whether this user owns a file or folder and nobody else can write to it."""
    status = path.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022
