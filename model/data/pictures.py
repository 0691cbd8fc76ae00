"""Opens and reads picture files for every source, and says why a file cannot be used."""

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
from model.errors import first_line

# The only formats that are opened: others of Pillow's run further programs (EPS) or are not used for photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# A larger picture needs gigabytes of memory, also where its file has only a few kilobytes. Twice the number at which
# Pillow warns.
MOST_PIXELS = 178_956_970
KINDS = {
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

# Pillow warns of damaged EXIF data, odd tags and many pixels without the file's name. Faults that matter are refused
# here with the name.
warnings.filterwarnings("ignore", module=r"PIL\.")


class NotThere(NotReadable):
    """The file system or the memory is the reason, not the content: the next attempt may succeed."""


class Facts(NamedTuple):
    """Facts about a picture that has been decoded once."""

    digest: str
    """A hash of the file's content, 32 hexadecimal digits."""
    width: int
    height: int
    """In pixels as stored, before the EXIF orientation is applied."""
    format: str
    """One of FORMATS, or MPO: a JPEG that holds further pictures."""


def read_picture(path: str | Path) -> Image.Image:
    """The picture at `path` as 8-bit RGB, upright, on white where it is transparent; of an animation the first frame.

    Raises NotReadable, with the reason.
    """
    with explained(), opened(path) as file, image_in(file) as image:
        return upright_rgb(image)


def examine(path: str | Path) -> Facts:
    """Decodes the whole picture. A JPEG is decoded at an eighth of its size, which is faster and finds the same damage.
    Raises NotReadable, with the reason.
    """
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
    """Turns every error of reading a picture into NotReadable: for damaged files, decoders raise errors of any kind."""
    try:
        yield
    except NotReadable:
        raise
    except Image.DecompressionBombError as error:
        raise NotReadable(f"has too many pixels; allowed: {MOST_PIXELS:,} in all") from error
    except MemoryError as error:
        raise NotThere("needs more memory than there is") from error
    except Exception as error:
        # EINVAL: a damaged file has made its decoder seek to a place before the file's start.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise NotThere(f"cannot be opened ({error.strerror})") from error
        reason = first_line(error)
        raise NotReadable(f"is damaged ({shown(reason)})") from error


def status_of(path: str | Path) -> os.stat_result:
    """Size, type and times of a file, links followed. Raises NotThere."""
    try:
        return os.stat(path)
    except ValueError as error:
        raise NotThere("has a name that no file can have") from error
    except OSError as error:
        raise NotThere(f"cannot be opened ({error.strerror})") from error


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """The file, open for reading; links are followed. Raises NotThere where it is not a regular file, and NotReadable
    where it is empty.
    """
    status = status_of(path)
    if not stat.S_ISREG(status.st_mode):
        raise NotThere(f"is {KINDS.get(stat.S_IFMT(status.st_mode), 'not a regular file')}; allowed: a picture file")
    if status.st_size == 0:
        raise NotReadable("is empty")
    # O_NONBLOCK: if the file has become a named pipe since, opening it must not wait for a writer.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        yield file


@contextmanager
def image_in(file: BinaryIO) -> Iterator[Image.Image]:
    """The opened picture, not yet decoded. Raises NotReadable for a picture of too many pixels or of another format
    than FORMATS.
    """
    try:
        opened_image = Image.open(file, formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise NotReadable(unidentified(file)) from error
    with opened_image as image:
        if image.width * image.height > MOST_PIXELS:
            raise NotReadable(f"has {image.width} x {image.height} pixels; allowed: {MOST_PIXELS:,} in all")
        yield image


def unidentified(file: BinaryIO) -> str:
    """Why Pillow cannot tell a file's format."""
    file.seek(0)
    start = file.read(12)
    for kind, signature in SIGNATURES.items():
        if re.match(signature, start, re.DOTALL):
            return f"begins like a {kind} file, but is damaged or of a kind that Pillow cannot read"
    return "has no known picture format; allowed: JPEG, PNG, WebP, GIF, BMP, TIFF"
