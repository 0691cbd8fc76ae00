"""Divides pictures among the splits by their content, so that copies of a picture are never in two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

# Decides the order of the contents. It is fixed, so that val and test are the same for every `seed`.
SEED = b"nway-clip, split by content"


class ContentSplit(NamedTuple):
    """Positions of pictures, by split."""

    train: list[int]
    """In ascending order."""
    val: list[int]
    """In the order of the hashes, so that a smaller split is the beginning of a larger one."""
    test: list[int]
    """In the reverse order of the hashes."""
    surplus: list[int]
    """Pictures that are in no split: copies of a picture of val or test that has no room for all of them."""


def split_by_content(digests: Sequence[str], val: int, test: int, train: int | None = None) -> ContentSplit:
    """Divides pictures among the splits so that equal contents are never in two splits.

    digests: a hash of each picture's content; val, test, train: the numbers of pictures (None: all others). A hash of
    the content decides: val takes the lowest, test the highest, and train the lowest of those between. New pictures
    therefore never move a picture from val to test or back, and move a picture of train into neither of them.

    val + test must be at most the number of pictures. A split has fewer than its number if copies leave it no others.
    """
    order = sorted(range(len(digests)), key=lambda position: (content_hash(digests[position]), position))
    groups = [list(group) for _, group in groupby(order, key=lambda position: digests[position])]
    head, chosen, surplus = take(groups, val)
    tail, tested, more = take(groups[head:][::-1], test)
    between = [position for group in groups[head : len(groups) - tail] for position in group]
    return ContentSplit(sorted(between[:train]), chosen, tested, sorted(surplus + more))


def take(groups: Sequence[list[int]], count: int) -> tuple[int, list[int], list[int]]:
    """Takes whole groups until they have `count` members. Returns the number of groups, the first `count` members, and
    the members beyond.
    """
    number, taken = 0, list[int]()
    while len(taken) < count and number < len(groups):
        taken += groups[number]
        number += 1
    return number, taken[:count], taken[count:]


def content_hash(digest: str) -> bytes:
    """Returns 16 bytes that decide the place of a content."""
    return hashlib.blake2b(digest.encode(), digest_size=16, key=SEED).digest()
