"""Features of many picture files, of which some may not be readable. Shapes: N files that can be read, D features."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.errors import ConfigError
from model.trained.pictures import PicturesNotReadable
from model.trained.progress import progress_bar
from model.trained.trained_model import TrainedModel, batches

# The most files that a message names.
MOST_NAMED = 20


class FileFeatures(NamedTuple):
    """The features of the files that can be read."""

    features: Tensor
    """(N, D), each row of length 1."""
    paths: list[str]
    """The N files."""
    left_out: list[str]
    """For each of the other files, its name and what is wrong with it."""


def encode_files(model: TrainedModel, files: Sequence[str], batch_size: int) -> FileFeatures:
    """Returns the features of picture files, with a progress bar on a terminal. A file that cannot be read is left
    out.
    """
    rows, paths, left_out = [model.encode_images([])], list[str](), list[str]()
    with progress_bar("pictures", len(files)) as advance:
        for batch in batches(len(files), batch_size):
            kept = list(files[batch])
            try:
                rows.append(model.encode_images(kept, batch_size))
            except PicturesNotReadable as unreadable:
                left_out += unreadable.reasons.values()
                kept = [file for number, file in enumerate(kept) if number not in unreadable.reasons]
                rows.append(model.encode_images(kept, batch_size))
            paths += kept
            advance(len(files[batch]))
    return FileFeatures(torch.cat(rows), paths, left_out)


def report_left_out(left_out: Sequence[str], count: int) -> None:
    """Prints how many of `count` files were left out, and why. Raises ConfigError if none of them can be read."""
    if len(left_out) == count:
        raise ConfigError(f"none of the {count} pictures can be read, the first because {left_out[0]}")
    if left_out:
        print(f"{len(left_out)} of {count} pictures cannot be read and are left out:", file=sys.stderr)
        print(*left_out[:MOST_NAMED], sep="\n", file=sys.stderr)
        if len(left_out) > MOST_NAMED:
            print(f"and {len(left_out) - MOST_NAMED} more", file=sys.stderr)
