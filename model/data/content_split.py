"""Divides samples among splits by the content of their pictures, so that copies of a picture are never in two splits.
Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def split_by_content(digests: NDArray[np.uint8], seed: int, sizes: Mapping[str, int]) -> dict[str, NDArray[np.int64]]:
    """Returns split -> its samples. A hash of (seed, content) orders the pictures: the first split of `sizes` takes the
    first pictures with all their copies, the second split the next ones. "train" takes all other samples, in the order
    of `digests`.

    digests: (N, 16) a hash of each picture's content; sizes: split -> number of samples. A picture with more copies
    than a split still needs is left to the next splits. A split has fewer samples than `sizes` says only if no pictures
    fit.
    """
    order = content_order(digests, seed)
    copies = np.flatnonzero((digests[order[1:]] != digests[order[:-1]]).any(1)) + 1 if len(order) else order
    starts = np.concatenate([[0], copies, [len(order)]]) if len(order) else np.zeros(1, np.int64)
    free = np.ones(len(starts) - 1, bool)
    splits: dict[str, NDArray[np.int64]] = {}
    for name, size in sizes.items():
        chosen = chosen_groups(np.diff(starts), free, size)
        free[chosen] = False
        rows = [order[starts[group] : starts[group + 1]] for group in chosen]
        splits[name] = np.concatenate(rows) if rows else order[:0]
    held_out = np.zeros(len(order), bool)
    for rows_of_split in splits.values():
        held_out[rows_of_split] = True
    return {**splits, "train": np.flatnonzero(~held_out)}


def chosen_groups(counts: NDArray[np.int64], free: NDArray[np.bool_], size: int) -> list[int]:
    """Returns the first free groups whose samples are together `size`, without groups that are too large.

    counts: number of samples of each group.
    """
    chosen: list[int] = []
    missing = size
    for group in np.flatnonzero(free):
        if missing == 0:
            break
        if counts[group] <= missing:
            chosen.append(int(group))
            missing -= int(counts[group])
    return chosen


def content_order(digests: NDArray[np.uint8], seed: int) -> NDArray[np.int64]:
    """Returns (N,) the samples in the order of a hash of (seed, content). Copies follow each other in their own
    order.
    """
    halves = np.ascontiguousarray(digests).view("<u8").astype(np.uint64)
    first = mixed(halves[:, 0] + mixed(np.full(len(halves), seed, np.uint64)))
    return np.lexsort((halves[:, 1], halves[:, 0], first))


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns (N,) numbers that look random, one for each value: the finaliser of SplitMix64 (Steele et al. 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
