"""Files that are not pictures, damaged files and dangerous files: each is refused with a reason, and nothing else is
printed.
"""

from __future__ import annotations

import errno
import os
import socket
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from model.data import pictures
from model.data.pictures import NotAccessible, NotReadable, examine, read_picture
from tests.data.odd_pictures import pixels
from tests.data.picture_files import GREY, chunk, exif, png, saved

pytestmark = pytest.mark.usefixtures("pillow_warnings_ignored")
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8))
NO_PICTURE = "has no known picture format; allowed: JPEG, PNG, WebP, GIF, BMP, TIFF"
UNKNOWN = "but is damaged or of a kind that Pillow cannot read"
FLOATING = "has floating-point pixels from {}; allowed: 0 to 1"
INTEGERS = (
    "has pixels of 32-bit or signed 16-bit integers; allowed: 8 bits, unsigned 16 bits, floating point from 0 to 1"
)
TOO_MANY = "has too many pixels; allowed: 178,956,970 in all"
TRUNCATED = "is damaged (image file is truncated (0 bytes not processed))"
TOO_MUCH_TEXT = "is damaged (Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK)"
ZEROS = zlib.compress(bytes(2_000_000), 9)


def changed_os(**functions: object) -> SimpleNamespace:
    """Returns the module os with other functions."""
    return SimpleNamespace(**(vars(os) | functions))


def reason(path: Path) -> str:
    """Returns why the file at `path` is refused. Both functions that read it give the same reason."""
    messages = set()
    for read in (examine, read_picture):
        with pytest.raises(NotReadable) as refused:
            read(path)
        messages.add(str(refused.value))
    (message,) = messages
    assert message.isprintable()
    return message


REFUSED = {
    "text": (b"a dog", NO_PICTURE),
    "one byte": (b"\xff", NO_PICTURE),
    "empty": (b"", "is empty"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', NO_PICTURE),
    "sound in the container of WebP": (b"RIFF\x24\0\0\0WAVEfmt ", NO_PICTURE),
    **{kind: (saved(PICTURE, kind), NO_PICTURE) for kind in ("EPS", "PDF", "ICO", "PPM", "TGA", "JPEG2000", "PCX",
    "SGI", "ICNS")},
    "a text that begins like a BMP": (b"BMW is a car", f"begins like a BMP file, {UNKNOWN}"),
    "PNG without content": (b"\x89PNG\r\n\x1a\n", f"begins like a PNG file, {UNKNOWN}"),
    "JPEG without content": (b"\xff\xd8\xff", f"begins like a JPEG file, {UNKNOWN}"),
    "TIFF, 64-bit floating point": (pixels(1, "f8", 0, 1), f"begins like a TIFF file, {UNKNOWN}"),
    "TIFF, floating point beyond 1": (pixels(1, "f4", 0, 255), FLOATING.format("0 to 255")),
    "TIFF, floating point below 0": (pixels(1, "f4", -0.5, 0.5), FLOATING.format("-0.5 to 0.5")),
    "TIFF, NaN": (pixels(1, "f4", 0, np.nan), FLOATING.format("nan to nan")),
    "TIFF, infinity": (pixels(1, "f4", 0, np.inf), FLOATING.format("0 to inf")),
    "TIFF, 32 bits": (pixels(1, "i4", 0, 1), INTEGERS),
    "TIFF, 32 bits without a sign": (pixels(1, "u4", 0, 1), INTEGERS),
    "TIFF, signed 16 bits": (pixels(1, "i2", 0, 1), INTEGERS),
    "PNG that claims too many pixels": (png(GREY, 8, [[0]], size=(100_000, 100_000)), TOO_MANY),
    "PNG that claims more pixels than it has": (png(GREY, 8, [[0]], size=(13_000, 13_000)), TRUNCATED),
    "PNG with much text": (png(GREY, 8, [[0]], chunk(b"zTXt", b"a\0\0" + ZEROS)), TOO_MUCH_TEXT),
    "PNG with much international text": (png(GREY, 8, [[0]], chunk(b"iTXt", b"a\0\1\0\0\0" + ZEROS)), TOO_MUCH_TEXT),
    "PNG with a large colour profile": (png(GREY, 8, [[0]], chunk(b"iCCP", b"a\0\0" + ZEROS)), TOO_MUCH_TEXT),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_file_has_its_reason(tmp_path, capfd, name):
    content, expected = REFUSED[name]
    file = tmp_path / "picture.png"
    file.write_bytes(content)
    assert reason(file) == expected
    assert capfd.readouterr() == ("", "")


def test_avif_is_refused(tmp_path):
    (tmp_path / "picture.avif").write_bytes(b"\0\0\0\x1cftypavif\0\0\0\0mif1avifmiaf" + bytes(100))
    assert reason(tmp_path / "picture.avif") == NO_PICTURE


def test_a_small_file_with_too_many_pixels_is_refused(tmp_path):
    """14,000 x 14,000 pixels of one bit in 24 kB."""
    pixels_of_it = zlib.compress(bytes(14_000 * (1 + 14_000 // 8)), 1)
    content = png(GREY, 1, [[0]], size=(14_000, 14_000), extra=chunk(b"IDAT", pixels_of_it))
    (tmp_path / "picture.png").write_bytes(content)
    assert reason(tmp_path / "picture.png") == TOO_MANY


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO"])
def test_a_truncated_file_is_damaged(tmp_path, capfd, kind):
    content = saved(PICTURE, kind)
    for length in (*range(1, 40), len(content) // 4, len(content) // 2, len(content) - 40):
        (tmp_path / "picture").write_bytes(content[:length])
        assert reason(tmp_path / "picture").startswith(
            ("is damaged (", "begins like a ", "has no known" if length < 12 else "is damaged")
        )
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damage_of_any_kind_gives_a_reason_or_a_picture(tmp_path, kind):
    """Replaces some of the first 400 bytes of a file, the same bytes in every run of the test."""
    random = np.random.default_rng(7)
    original = saved(PICTURE, kind, **({"exif": exif(6)} if kind in ("JPEG", "PNG", "WEBP") else {}))
    for number in range(25):
        content = bytearray(original)
        for place in random.integers(0, min(400, len(original)), 1 + number % 4):
            content[place] = random.integers(256)
        (tmp_path / "picture").write_bytes(content)
        try:
            assert read_picture(tmp_path / "picture").mode == "RGB"
        except NotReadable:
            continue


def test_only_files_are_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link_to_pipe").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # the path of a socket must be short
        listener.bind("socket")
    expected = {
        "pipe": "is a named pipe; allowed: a picture file",
        "link_to_pipe": "is a named pipe; allowed: a picture file",
        "folder": "is a folder; allowed: a picture file",
        "socket": "is a socket; allowed: a picture file",
        "dangling": f"cannot be opened ({os.strerror(errno.ENOENT)})",
        "loop": f"cannot be opened ({os.strerror(errno.ELOOP)})",
        "nul\0": "has a name that no file can have",
        "half \ud800": "has a name that no file can have",
        "x" * 300: f"cannot be opened ({os.strerror(errno.ENAMETOOLONG)})",
    }
    assert {name: reason(tmp_path / name) for name in expected} == expected
    assert reason(Path("/dev/zero")) == "is a device; allowed: a picture file"


def test_a_link_to_a_picture_is_followed(tmp_path):
    (tmp_path / "picture").write_bytes(saved(PICTURE, "PNG"))
    (tmp_path / "link").symlink_to("picture")
    assert read_picture(tmp_path / "link").size == (40, 24)


def test_a_file_that_a_pipe_replaces_does_not_block(tmp_path, monkeypatch):
    """The file is replaced by a pipe between the call of stat and the call of open."""
    os.mkfifo(tmp_path / "picture")
    (tmp_path / "before").write_bytes(b"content")
    before = os.stat(tmp_path / "before")
    monkeypatch.setattr(pictures, "os", changed_os(stat=lambda path: before))
    assert reason(tmp_path / "picture").startswith(("is damaged", "has no known picture format"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be opened (Permission denied)"),
        (OSError(errno.EIO, "Input/output error"), "cannot be opened (Input/output error)"),
        (MemoryError(), "needs more memory than there is"),
    ],
)
def test_an_error_of_the_system_is_not_damage(tmp_path, monkeypatch, error, expected):
    def refuse(*arguments: object) -> int:
        raise error

    (tmp_path / "picture").write_bytes(saved(PICTURE, "PNG"))
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "os", changed_os(open=refuse))
        assert reason(tmp_path / "picture") == expected
        with pytest.raises(NotAccessible):
            read_picture(tmp_path / "picture")
    assert read_picture(tmp_path / "picture").size == (40, 24)


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OSError(errno.EINVAL, "x"), "is damaged ([Errno 22] x)"), (KeyError(), "is damaged (KeyError)")],
)
def test_an_error_of_a_decoder_is_damage(tmp_path, monkeypatch, error, expected):
    (tmp_path / "picture").write_bytes(saved(PICTURE, "PNG"))

    def fail(image: Image.Image) -> None:
        raise error

    monkeypatch.setattr(pictures, "to_upright_rgb", fail)
    assert reason(tmp_path / "picture") == expected
    with pytest.raises(NotReadable) as refused:
        read_picture(tmp_path / "picture")
    assert not isinstance(refused.value, NotAccessible)
