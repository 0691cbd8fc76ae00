"""Examines the pictures of a shard: each is decoded once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.array_cache import Arrays
from model.data.picture_cache import MANY, MOST_WORKERS, in_chunks
from model.data.pictures import CheckResult, NotAccessible, NotReadable, PictureFacts, examine_opened
from model.data.shard_samples import opened_part
from model.data.workers import parallel_map, usable_cores
from model.errors import first_line

log = logging.getLogger(__name__)
# The formats that Pillow can report. The facts of a picture hold a position in this list.
FORMATS = ("", "JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "DIB")
Place = tuple[int, int]
"""Offset and size of a picture in its shard. The offset is -1 for a sample without a picture."""


class ShardPictures(NamedTuple):
    """What is known of the pictures of the N samples of a shard."""

    digests: NDArray[np.uint8]
    """(N, 16) a hash of each picture's file. Zero where there is none."""
    sizes: NDArray[np.int32]
    """(N, 3) width, height, and position of the format in FORMATS."""
    reasons: dict[int, NotReadable]
    """Samples without a picture that can be used: position in the shard -> the reason."""

    def facts(self, position: int) -> PictureFacts:
        """Returns the facts about a picture that can be used."""
        width, height, kind = self.sizes[position].tolist()
        return PictureFacts(self.digests[position].tobytes().hex(), width, height, FORMATS[kind])


def check_places(path: str, places: Sequence[Place]) -> list[CheckResult]:
    """Returns facts about each picture, or the reason why it cannot be used."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        return [NotAccessible(f"cannot be opened ({error.strerror})") for _ in places]
    try:
        return [check_place(descriptor, place) for place in places]
    finally:
        os.close(descriptor)


def check_place(descriptor: int, place: Place) -> CheckResult:
    """Returns facts about a picture of an open shard, or the reason why it cannot be used."""
    if place[0] < 0:
        return NotReadable("has no picture; allowed: .jpg, .jpeg, .png, .webp, .gif, .bmp, .tif, .tiff")
    try:
        return examine_opened(partial(opened_part, descriptor, *place))
    except NotReadable as reason:
        return reason


def examine_pictures(path: str, places: Sequence[Place], advance: Callable[[int], None]) -> ShardPictures:
    """Decodes the pictures of a shard. Worker processes decode many pictures.

    advance: is called with the number of bytes of the pictures that have been decoded.
    """
    digests, sizes = np.zeros((len(places), 16), np.uint8), np.zeros((len(places), 3), np.int32)
    reasons: dict[int, NotReadable] = {}
    for position, result in enumerate(decoded(path, places)):
        if isinstance(result, NotReadable):
            reasons[position] = result
        else:
            digests[position] = np.frombuffer(bytes.fromhex(result.digest), np.uint8)
            kind = FORMATS.index(result.format) if result.format in FORMATS else 0
            sizes[position] = (result.width, result.height, kind)
        advance(places[position][1])
    return ShardPictures(digests, sizes, reasons)


def decoded(path: str, places: Sequence[Place]) -> Iterator[CheckResult]:
    """Yields the results for the pictures of a shard, in order."""
    chunks, done = in_chunks(places), 0
    if len(places) >= MANY and usable_cores() > 1:
        try:
            for results in parallel_map(partial(check_places, path), chunks, min(usable_cores(), MOST_WORKERS)):
                done += 1
                yield from results
        except (OSError, RuntimeError, AssertionError) as error:  # AssertionError: a daemon may not start processes
            log.warning("pictures are decoded in one process, because worker processes failed (%s)", first_line(error))
    for chunk in chunks[done:]:
        yield from check_places(path, chunk)


def pictures_as_arrays(pictures: ShardPictures) -> Arrays:
    """Returns the results in the form of the cache. They do not last if the file system is the reason for one of them,
    because the next attempt may succeed.
    """
    lasting = not any(isinstance(reason, NotAccessible) for reason in pictures.reasons.values())
    reasons = {str(position): str(reason) for position, reason in pictures.reasons.items()}
    return Arrays({"digests": pictures.digests, "sizes": pictures.sizes}, {"reasons": reasons}, lasting)


def pictures_from_arrays(arrays: Arrays) -> ShardPictures:
    """Returns the results that `pictures_as_arrays` stored."""
    reasons = {int(position): NotReadable(reason) for position, reason in arrays.facts["reasons"].items()}
    return ShardPictures(arrays.columns["digests"], arrays.columns["sizes"], reasons)
