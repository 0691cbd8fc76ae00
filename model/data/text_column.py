"""Many texts in two arrays, which take 8 bytes a text beyond the text itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class TextColumn(NamedTuple):
    """Texts in UTF-8, one after the other."""

    content: NDArray[np.uint8]
    ends: NDArray[np.int64]
    """(N,) the position after the last byte of each text."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> TextColumn:
        """Stores texts. Bytes of file names that are not UTF-8 are kept (`surrogateescape`)."""
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def text(self, index: int) -> str:
        """Returns the text at `index`, from 0 to N - 1."""
        start = int(self.ends[index - 1]) if index else 0
        return self.content[start : int(self.ends[index])].tobytes().decode("utf-8", "surrogateescape")

    def texts(self) -> Iterator[str]:
        """Yields all texts."""
        content, start = self.content.tobytes(), 0
        for end in self.ends.tolist():
            yield content[start:end].decode("utf-8", "surrogateescape")
            start = end
