"""Writes tars whose bytes depend only on names and contents: no times, users or permissions. Standard library only."""

from __future__ import annotations

import tarfile
from typing import BinaryIO

BLOCK = 512
# A tar ends with two empty blocks, and is filled up to a multiple of this number of bytes.
RECORD = 20 * BLOCK


def entry_size(size: int) -> int:
    """Returns the number of bytes that a file of `size` bytes takes in a tar."""
    return BLOCK + -(-size // BLOCK) * BLOCK


def with_end(size: int) -> int:
    """Returns the number of bytes of a tar whose files take `size` bytes."""
    return -(-(size + 2 * BLOCK) // RECORD) * RECORD


def write_entry(file: BinaryIO, name: str, content: bytes) -> None:
    """Writes a file of a tar. name: at most 100 bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    file.write(info.tobuf(tarfile.USTAR_FORMAT))
    file.write(content)
    file.write(bytes(-len(content) % BLOCK))


def write_end(file: BinaryIO) -> None:
    """Writes the end of a tar."""
    file.write(bytes(with_end(file.tell()) - file.tell()))
