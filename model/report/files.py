"""Writing files so that a kill at any moment, or a full disk, leaves the old or the new one whole. Errors name the file: see model/disk.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from model.disk import writing


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces `path` by `content`. Text is written as UTF-8. Raises NotWritten."""
    data = content.encode() if isinstance(content, str) else content
    with writing(path, lambda: len(data)), replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path`, to be written in the block: then it is flushed to the disk and renamed. After an error it is removed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def append(path: Path, text: str) -> None:
    """Adds `text` to the end of `path`, all of it or nothing. Raises NotWritten."""
    data = text.encode()
    before = path.stat().st_size if path.exists() else 0
    with writing(path, lambda: len(data)):
        try:
            with open(path, "ab") as file:
                file.write(data)
        except OSError:
            with suppress(OSError):
                os.truncate(path, before)
            raise
