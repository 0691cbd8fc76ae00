"""Texts of many rows in a memory-mapped file, so that all processes of a machine share one copy of them.

The file: the number of texts, their starts and the end of the last one as int64, then the texts as UTF-8. It lies in
the user's cache folder and is named after its content, so that equal texts of several runs are one file.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from struct import Struct

import numpy as np

from model.data.picture_cache_file import remove_old
from model.record.files import write_whole
from model.user_cache import cache_folder, is_private, temporary_folder

NUMBER, TWO_NUMBERS = Struct("<q"), Struct("<2q")


class TextFile:
    """A sequence of texts in a file that `write_texts` has written. A process that gets a copy opens the file again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with file.open("rb") as opened:
            self._content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        (self._count,) = NUMBER.unpack_from(self._content)
        self._first = NUMBER.size * (self._count + 2)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < self._count:
            raise IndexError(f"text {index} of {self._count}")
        start, end = TWO_NUMBERS.unpack_from(self._content, NUMBER.size * (index + 1))
        return self._content[self._first + start : self._first + end].decode("utf-8", "surrogatepass")

    def __reduce__(self) -> tuple[type[TextFile], tuple[Path]]:
        return TextFile, (self._file,)


class RowStore:
    """The name and the captions of each row."""

    def __init__(self, texts: TextFile, captions: int) -> None:
        """texts: of each row, its name and then its captions; captions: their number."""
        self._texts, self._captions = texts, captions

    def __len__(self) -> int:
        return len(self._texts) // (1 + self._captions)

    def name(self, row: int) -> str:
        """Returns the name of a row."""
        return self._texts[row * (1 + self._captions)]

    def captions(self, row: int) -> list[str]:
        """Returns the captions of a row."""
        first = row * (1 + self._captions)
        return [self._texts[first + 1 + number] for number in range(self._captions)]


def store_rows(rows: Iterable[tuple[str, list[str]]], captions: int) -> RowStore:
    """Writes the names and captions of rows and returns them. captions: the number of captions of each row. Raises
    NotWritten if no folder can hold the file.
    """
    return RowStore(write_texts(text for name, own in rows for text in (name, *own)), captions)


def write_texts(texts: Iterable[str]) -> TextFile:
    """Writes texts to a file in the user's cache folder, or where that is impossible in a temporary folder of this
    process. A file that has the same content is used as it is.
    """
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    starts = np.cumsum([0, *map(len, encoded)], dtype="<i8").tobytes()
    content = b"".join([NUMBER.pack(len(encoded)), starts, *encoded])
    name = f"{hashlib.blake2b(content, digest_size=16).hexdigest()}.rows"
    with contextlib.suppress(OSError):
        return TextFile(keep(cache_folder() / "rows" / name, content))
    return TextFile(keep(temporary_folder() / name, content))


def keep(file: Path, content: bytes) -> Path:
    """Returns `file`, after writing `content` to it unless it has that content already."""
    try:
        if is_private(file) and file.read_bytes() == content:
            with contextlib.suppress(OSError):
                os.utime(file)  # marks the file as used, see `remove_old`
            return file
    except OSError:
        pass
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(file, content)
    remove_old(file.parent)
    return file
