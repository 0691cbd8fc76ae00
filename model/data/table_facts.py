"""Facts about many picture files in few bytes: 29 a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from model.data.pictures import PictureFacts


class FactsTable:
    """The facts about the picture of each row, as arrays."""

    def __init__(self, count: int) -> None:
        """count: the number of rows, of which none is known at first."""
        self._digests = np.zeros((count, 16), np.uint8)
        self._sizes = np.zeros((count, 2), np.int32)
        self._formats = np.full(count, -1, np.int8)
        self._format_names: list[str] = []

    def __contains__(self, row: int) -> bool:
        return bool(self._formats[row] >= 0)

    def __setitem__(self, row: int, facts: PictureFacts) -> None:
        if facts.format not in self._format_names:
            self._format_names.append(facts.format)
        self._digests[row] = np.frombuffer(bytes.fromhex(facts.digest), np.uint8)
        self._sizes[row] = facts.width, facts.height
        self._formats[row] = self._format_names.index(facts.format)

    def __getitem__(self, row: int) -> PictureFacts:
        width, height = self._sizes[row].tolist()
        return PictureFacts(self.digest(row), width, height, self._format_names[self._formats[row]])

    def digest(self, row: int) -> str:
        """Returns the hash of the content of a row's file."""
        return self._digests[row].tobytes().hex()


class NamedFacts(Sequence[tuple[str, PictureFacts]]):
    """Name and facts of each of `rows`, made when they are read."""

    def __init__(self, rows: NDArray, name: Callable[[int], str], facts: FactsTable) -> None:
        self._rows, self._name, self._facts = rows, name, facts

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> tuple[str, PictureFacts]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, PictureFacts]]: ...

    def __getitem__(self, index: int | slice) -> tuple[str, PictureFacts] | Sequence[tuple[str, PictureFacts]]:
        if isinstance(index, slice):
            return NamedFacts(self._rows[index], self._name, self._facts)
        row = int(self._rows[index])
        return self._name(row), self._facts[row]

    def __iter__(self) -> Iterator[tuple[str, PictureFacts]]:
        return ((self._name(row), self._facts[row]) for row in self._rows.tolist())
