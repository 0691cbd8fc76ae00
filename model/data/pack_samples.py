"""The files of a source's samples, as `python -m model.data.pack` writes them into shards."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from PIL import Image
from torch import Tensor

from model.data.pictures import SIGNATURES, errors_as_not_readable
from model.data.pixels import NotReadable
from model.data.source import Source
from model.data.squares import PictureFile
from model.data.text import escape
from model.errors import RunFailed

# Rows that are read at a time.
BLOCK_ROWS = 64
# Extension of a picture's file by its format.
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WebP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}


@runtime_checkable
class HasPictureFiles(Protocol):
    """A source whose pictures are files. Their bytes are packed as they are."""

    def picture_files(self, split: str, indices: Sequence[int]) -> list[PictureFile]:
        """Returns the file of each picture."""


class PackedSample(NamedTuple):
    """A sample as files: name -> content, in the order of the shard."""

    files: dict[str, bytes]


def packed_samples(source: Source, split: str, first: int) -> Iterator[PackedSample]:
    """Yields the samples of a split from row `first` on, in order. Raises RunFailed for a picture that can no longer be
    read.
    """
    for start in range(first, source.size(split), BLOCK_ROWS):
        rows = range(start, min(start + BLOCK_ROWS, source.size(split)))
        labels = source.labels(split, rows)
        classes = [None] * len(rows) if labels is None else labels.tolist()
        for row, picture, texts, label in zip(
            rows, pictures(source, split, rows), source.texts(split, rows), classes, strict=True
        ):
            yield sample_files(row_key(row), picture, texts, label)


def row_key(row: int) -> str:
    """Returns the name of a sample's files without the extension."""
    return f"{row:09d}"


def pictures(source: Source, split: str, rows: Sequence[int]) -> Iterator[bytes]:
    """Yields the file of each picture: the source's own file, or a PNG of the pixels of a source that draws."""
    if isinstance(source, HasPictureFiles):
        yield from map(file_bytes, source.picture_files(split, rows))
    else:
        yield from map(png, source.images(split, rows))


def file_bytes(picture: PictureFile) -> bytes:
    """Returns the content of a picture's file. Raises RunFailed if it can no longer be read."""
    try:
        with errors_as_not_readable(), picture.open() as file:
            return file.read()
    except NotReadable as reason:
        raise RunFailed(
            f"{escape(picture.name)} {reason}, but was readable when the command began\n"
            "restore the file, then give the same command again"
        ) from reason


def png(pixels: Tensor) -> bytes:
    """Returns a PNG of (3, H, W) uint8 pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(file, "PNG")
    return file.getvalue()


def sample_files(key: str, picture: bytes, texts: Sequence[str], label: int | None) -> PackedSample:
    """Returns the files of a sample. label: its class, -1 for none; None if the data have no classes."""
    files = {
        f"{key}.{extension_of(picture)}": picture,
        f"{key}.json": json.dumps({"captions": list(texts)}, ensure_ascii=False).encode(),
    }
    if label is not None:
        files[f"{key}.cls"] = str(label).encode()
    return PackedSample(files)


def extension_of(picture: bytes) -> str:
    """Returns the extension of a picture's file, which its content decides."""
    formats = (kind for kind, signature in SIGNATURES.items() if re.match(signature, picture[:12], re.DOTALL))
    return EXTENSIONS[next(formats)]
