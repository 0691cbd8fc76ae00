"""Opens and reads picture files for every source, and explains why a file cannot be used."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image

from model.data.crops import Crop
from model.data.pixels import (
    MOST_ELONGATED,
    Extent,
    NotReadable,
    orientation,
    reduce_jpeg,
    to_upright_rgb,
    upright_extent,
    upright_sides,
)
from model.data.text import one_line
from model.errors import first_line

# The only formats that are opened. Pillow's other formats run further programs (EPS) or are not used for photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# A larger picture needs gigabytes of memory, even if its file has only a few kilobytes. Twice the number of pixels for
# which Pillow warns.
MOST_PIXELS = 178_956_970
FILE_TYPES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

# How a file of each format begins.
SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG",
    "WebP": rb"RIFF....WEBP",
    "GIF": rb"GIF8",
    "BMP": rb"BM",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
}

# Pillow warns of damaged EXIF data, odd tags and many pixels, without the name of the file. Problems that matter raise
# NotReadable here, and the caller names the file.
warnings.filterwarnings("ignore", module=r"PIL\.")


class NotAccessible(NotReadable):
    """Raised if the file system or the memory is the reason, not the content: the next attempt may succeed."""


class PictureFacts(NamedTuple):
    """Facts about a picture that has been decoded once."""

    digest: str
    """A hash of the file's content, 32 hexadecimal digits."""
    width: int
    height: int
    """In pixels as stored, before the EXIF orientation is applied."""
    format: str
    """One of FORMATS, or MPO: a JPEG that holds further pictures."""


class ReducedPicture(NamedTuple):
    """A picture with enough pixels for a purpose, and perhaps fewer than its file has."""

    image: Image.Image
    """8-bit RGB, upright, on white if the picture is transparent."""
    extent: Extent
    """Where the picture lies on `image`. The outermost column or row can lie partly beyond the picture."""


# Opens the bytes of a picture. Raises NotReadable.
Opener = Callable[[], AbstractContextManager[BinaryIO]]
CheckResult = PictureFacts | NotReadable
"""Facts about a picture, or the reason why it cannot be used."""


def read_picture(path: str | Path) -> Image.Image:
    """Returns the picture at `path` as 8-bit RGB, upright, on white if it is transparent. Of an animation, returns the
    first frame.

    Raises NotReadable, with the reason.
    """
    with errors_as_not_readable(), open_file(path) as file, open_image(file) as image:
        return to_upright_rgb(image)


def read_reduced(path: str | Path, least_side: int) -> ReducedPicture:
    """Returns the picture of `read_picture`, reduced as by `decode_reduced`. Raises NotReadable, with the reason."""
    return decode_reduced(partial(open_file, path), least_side)


def decode_reduced(opener: Opener, least_side: int, crop: Crop | None = None) -> ReducedPicture:
    """Returns the picture that `opener` opens: 8-bit RGB, upright, on white if it is transparent. A JPEG is decoded at
    a half, a quarter or an eighth of its size if no side then has fewer than `least_side` pixels, which is faster.

    crop: a part of the picture, whose sides then have `least_side` pixels or more. Raises NotReadable, with the reason.
    """
    with errors_as_not_readable(), opener() as file, open_image(file) as image:
        beyond = reduce_jpeg(
            image, least_side if crop is None else least_of_whole(upright_sides(image), crop, least_side)
        )
        upright = to_upright_rgb(image)
        return ReducedPicture(upright, upright_extent(upright, orientation(image), beyond))


def least_of_whole(sides: tuple[int, int], crop: Crop, least_side: int) -> int:
    """Returns the least side of a whole picture, given by its width and height, whose crop has no side shorter than
    `least_side`.
    """
    longest = MOST_ELONGATED * min(sides)
    width, height = (min(side, longest) for side in sides)
    return math.ceil(least_side * min(sides) / min(crop.box(Extent(0, 0, width, height)).sides))


def examine(path: str | Path) -> PictureFacts:
    """Returns `examine_opened` of the file at `path`."""
    return examine_opened(partial(open_file, path))


def examine_opened(opener: Opener) -> PictureFacts:
    """Decodes the whole picture that `opener` opens. A JPEG is decoded at an eighth of its size, which is faster and
    finds the same damage. Raises NotReadable, with the reason.
    """
    with errors_as_not_readable(), opener() as file:
        digest = hashlib.blake2b(digest_size=16)
        while block := file.read(1 << 20):
            digest.update(block)
        file.seek(0)
        with open_image(file) as image:
            width, height = image.size
            image.draft("RGB", (1, 1))
            to_upright_rgb(image)
            return PictureFacts(digest.hexdigest(), width, height, image.format or "")


def check_picture(path: str) -> CheckResult:
    """Returns the result of `examine`, or the reason why the picture cannot be used."""
    try:
        return examine(path)
    except NotReadable as reason:
        return reason


def check_pictures(folder: str, names: Sequence[str]) -> list[CheckResult]:
    """Returns `check_picture` of each file below the folder."""
    return [check_picture(os.path.join(folder, name)) for name in names]


@contextmanager
def errors_as_not_readable() -> Iterator[None]:
    """Converts every error of reading a picture to NotReadable. Decoders raise errors of any type for damaged files."""
    try:
        yield
    except NotReadable:
        raise
    except Image.DecompressionBombError as error:
        raise NotReadable(f"has too many pixels; allowed: {MOST_PIXELS:,} in all") from error
    except MemoryError as error:
        raise NotAccessible("needs more memory than there is") from error
    except Exception as error:
        # EINVAL: a damaged file has made its decoder seek to a position before the start of the file.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise NotAccessible(f"cannot be opened ({error.strerror})") from error
        raise NotReadable(f"is damaged ({one_line(first_line(error))})") from error


def file_status(path: str | Path) -> os.stat_result:
    """Returns size, type and times of a file. Symbolic links are followed. Raises NotAccessible."""
    try:
        return os.stat(path)
    except ValueError as error:
        raise NotAccessible("has a name that no file can have") from error
    except OSError as error:
        raise NotAccessible(f"cannot be opened ({error.strerror})") from error


@contextmanager
def open_file(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a file for reading. Symbolic links are followed. Raises NotAccessible if it is not a regular file, and
    NotReadable if it is empty.
    """
    status = file_status(path)
    if not stat.S_ISREG(status.st_mode):
        kind = FILE_TYPES.get(stat.S_IFMT(status.st_mode), "not a regular file")
        raise NotAccessible(f"is {kind}; allowed: a picture file")
    if status.st_size == 0:
        raise NotReadable("is empty")
    # O_NONBLOCK: if the file has meanwhile been replaced by a named pipe, opening it must not wait for a writer.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        yield file


@contextmanager
def open_image(file: BinaryIO) -> Iterator[Image.Image]:
    """Opens a picture without decoding it. Raises NotReadable for a picture with too many pixels, or whose format is
    not one of FORMATS.
    """
    try:
        opened = Image.open(file, formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise NotReadable(unidentified_reason(file)) from error
    with opened as image:
        if image.width * image.height > MOST_PIXELS:
            raise NotReadable(f"has {image.width} x {image.height} pixels; allowed: {MOST_PIXELS:,} in all")
        yield image


def unidentified_reason(file: BinaryIO) -> str:
    """Returns why Pillow cannot identify the format of a file."""
    file.seek(0)
    start = file.read(12)
    for kind, signature in SIGNATURES.items():
        if re.match(signature, start, re.DOTALL):
            return f"begins like a {kind} file, but is damaged or of a kind that Pillow cannot read"
    return "has no known picture format; allowed: JPEG, PNG, WebP, GIF, BMP, TIFF"
