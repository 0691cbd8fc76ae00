"""Picture files, opened and read in one place for every source: which files are pictures, and why one cannot be used."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image

from model.data.pixels import NotReadable, upright_rgb
from model.data.text import shown

# Nothing else is opened: other formats of Pillow run further programs (EPS) or have no users here.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# More pixels than this need gigabytes of memory; a file of a few kilobytes can claim them. Twice the number at which Pillow warns.
MOST_PIXELS = 178_956_970
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}

# How a file of each format begins.
SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG",
    "WebP": rb"RIFF....WEBP",
    "GIF": rb"GIF8",
    "BMP": rb"BM",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
}

# Pillow warns, without the file's name, of damaged EXIF data, odd tags and many pixels. What matters of these is refused here, by name.
warnings.filterwarnings("ignore", module=r"PIL\.")


class NotThere(NotReadable):
    """The file system, not the content, is the reason: it may be another one at the next try."""


class Facts(NamedTuple):
    """What is known of a picture that has been decoded once."""

    digest: str
    """32 hexadecimal digits of the file's content."""
    width: int
    height: int
    """Pixels as stored, before a turn by EXIF."""
    format: str
    """One of FORMATS, or MPO, a JPEG with further pictures behind the first."""


def read_picture(path: str | Path) -> Image.Image:
    """The picture at `path` as 8-bit RGB, upright, on white where it is transparent; of an animation the first frame.

    Raises NotReadable, with the reason.
    """
    with explained(), opened(path) as file, image_in(file) as image:
        return upright_rgb(image)


def examine(path: str | Path) -> Facts:
    """Decodes the whole picture, a JPEG at an eighth of its size, which is faster and misses no damage. Raises NotReadable, with the reason."""
    with explained(), opened(path) as file:
        digest = hashlib.blake2b(digest_size=16)
        while block := file.read(1 << 20):
            digest.update(block)
        file.seek(0)
        with image_in(file) as image:
            width, height = image.size
            image.draft("RGB", (1, 1))
            upright_rgb(image)
            return Facts(digest.hexdigest(), width, height, image.format or "")


@contextmanager
def explained() -> Iterator[None]:
    """Turns whatever reading a picture raises into NotReadable: decoders meet damaged files with errors of any kind."""
    try:
        yield
    except NotReadable:
        raise
    except Image.DecompressionBombError as error:
        raise NotReadable(f"has too many pixels; allowed: {MOST_PIXELS:,} in all") from error
    except MemoryError as error:
        raise NotThere("needs more memory than there is") from error
    except Exception as error:
        # EINVAL: a damaged file has sent its decoder to a place before the file's start.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise NotThere(f"cannot be opened ({error.strerror})") from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise NotReadable(f"is damaged ({shown(reason)})") from error


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """The file to read from; links are followed. Raises NotThere for what is no file with content."""
    try:
        status = os.stat(path)
    except ValueError as error:  # a name that no file can have
        raise NotThere("has a name that no file can have") from error
    if not stat.S_ISREG(status.st_mode):
        raise NotThere(f"is {KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}; allowed: a picture file")
    if status.st_size == 0:
        raise NotReadable("is empty")
    # Should it become a named pipe in between, reading must not wait for a writer.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        yield file


@contextmanager
def image_in(file: BinaryIO) -> Iterator[Image.Image]:
    """The opened picture, its pixels not yet decoded. Raises NotReadable where it claims too many, or is of no format that is read."""
    try:
        opened_image = Image.open(file, formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise NotReadable(unidentified(file)) from error
    with opened_image as image:
        if image.width * image.height > MOST_PIXELS:
            raise NotReadable(f"has {image.width} x {image.height} pixels; allowed: {MOST_PIXELS:,} in all")
        yield image


def unidentified(file: BinaryIO) -> str:
    """Why Pillow does not know a file's format."""
    file.seek(0)
    start = file.read(12)
    for kind, signature in SIGNATURES.items():
        if re.match(signature, start, re.DOTALL):
            return f"begins as a {kind} file, but is damaged or of a kind that Pillow cannot read"
    return "is no picture; allowed: JPEG, PNG, WebP, GIF, BMP, TIFF"
