"""Reads the headers of an uncompressed tar: names, offsets and sizes of its files. Standard library only.

It reads the formats v7, ustar (with its prefix), GNU (long names, sizes in base 256) and PAX (path and size). A hard
link has the content of the file to which it links. Other entries, such as folders and symbolic links, are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from model.data.text import one_line

BLOCK = 512
# The types of entries that are files. The type "7" is a file that old systems stored in one piece.
FILE_TYPES = (b"0", b"\0", b"7")
HARD_LINK, LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL = b"1", b"L", b"K", b"x", b"g"
# How compressed files begin.
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
# The most bytes of a long name or of PAX data. More is damage.
MOST_EXTRA = 1 << 20


class TarMember(NamedTuple):
    """A file in a tar."""

    name: str
    offset: int
    """Position of the first byte of its content."""
    size: int
    """In bytes."""


class TarContent(NamedTuple):
    """The files of a tar that can be read."""

    members: list[TarMember]
    problem: str | None
    """Why the rest of the tar cannot be read, for example because it is truncated. None if all of it can be read."""


class Header(NamedTuple):
    """The header of an entry."""

    name: str
    size: int
    kind: bytes
    link: str
    """The name of the entry to which a link links."""


class DamagedTar(Exception):
    """Raised where a tar cannot be read any further. The text says why."""


class CompressedTar(Exception):
    """Raised for a compressed tar, whose files have no fixed place. The text says with which program."""


def read_tar(path: str | Path) -> TarContent:
    """Reads the headers of the tar at `path`. Raises OSError if the file cannot be opened or read, and CompressedTar if
    it is compressed.
    """
    members: list[TarMember] = []
    links: list[tuple[int, str]] = []
    problem: str | None = None
    with open(path, "rb") as file:
        start = file.read(8)
        for signature, name in COMPRESSED.items():
            if start.startswith(signature):
                raise CompressedTar(f"is compressed with {name}")
        try:
            for header, offset in entries(file.fileno(), os.fstat(file.fileno()).st_size):
                if header.kind in FILE_TYPES and not header.name.endswith("/"):
                    members.append(TarMember(header.name, offset, header.size))
                elif header.kind == HARD_LINK:
                    links.append((len(members), header.link))
                    members.append(TarMember(header.name, -1, 0))
        except DamagedTar as damage:
            problem = str(damage)
    return TarContent(with_links(members, links), problem)


def with_links(members: list[TarMember], links: list[tuple[int, str]]) -> list[TarMember]:
    """Gives hard links the place of the file to which they link. Links to files that the tar lacks are left out.

    links: (position in `members`, the name of the file to which it links).
    """
    if not links:
        return members
    places = {member.name: member for member in members if member.offset >= 0}
    for position, target in links:
        if target in places:
            members[position] = places[target]._replace(name=members[position].name)
    return [member for member in members if member.offset >= 0]


def entries(descriptor: int, length: int) -> Iterator[tuple[Header, int]]:
    """Yields the header of each entry and the position of its content. Raises DamagedTar."""
    position = 0
    extra: dict[str, str] = {}
    while True:
        block = os.pread(descriptor, BLOCK, position)
        if not block:
            raise DamagedTar("ends without an end mark, so that files may be missing")
        if len(block) < BLOCK:
            raise DamagedTar(f"is truncated at byte {length:,}")
        if not block.strip(b"\0"):
            return
        header, content = read_header(block, position), position + BLOCK
        if header.kind in (PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK):
            if header.kind != PAX_GLOBAL:
                extra |= further_fields(header, os.pread(descriptor, min(header.size, MOST_EXTRA), content))
        else:
            header, extra = replaced(header, extra), {}
            if content + header.size > length:
                raise DamagedTar(f"is truncated at byte {length:,}, within {one_line(header.name)}")
            yield header, content
        position = content + -(-header.size // BLOCK) * BLOCK


def read_header(block: bytes, position: int) -> Header:
    """Returns the content of a header. Raises DamagedTar if its check sum is wrong.

    position: of the block in the tar.
    """
    try:
        unsigned = sum(block) - sum(block[148:156]) + 8 * ord(" ")
        if number(block[148:156]) != unsigned:
            raise ValueError
        size = number(block[124:136])
    except ValueError:
        raise DamagedTar(f"has no valid header at byte {position:,}") from None
    name = text(block[:100])
    # GNU uses the bytes of the prefix for other fields.
    if block[257:263] == b"ustar\0" and (prefix := text(block[345:500])):
        name = f"{prefix}/{name}"
    return Header(name, size, block[156:157], text(block[157:257]))


def number(field: bytes) -> int:
    """Returns a number of a header: octal digits, or base 256 if the first bit is set. Raises ValueError."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] != 0x80:
            raise ValueError
        return value
    return int(field.split(b"\0")[0].strip() or b"0", 8)


def text(field: bytes) -> str:
    """Returns a text of a header up to its first NUL."""
    return field.split(b"\0")[0].decode("utf-8", "surrogateescape")


def replaced(header: Header, extra: dict[str, str]) -> Header:
    """Returns a header with the fields of the entries before it. Raises DamagedTar."""
    size = extra.get("size", str(header.size))
    if not (size.isascii() and size.isdigit()):
        raise DamagedTar(f"has a PAX header with size={size[:20]!r}")
    size = "0" if header.kind == HARD_LINK else size
    return header._replace(name=extra.get("path", header.name), link=extra.get("linkpath", header.link), size=int(size))


def further_fields(header: Header, content: bytes) -> dict[str, str]:
    """Returns fields that replace those of the next header: path, linkpath and size. Raises DamagedTar."""
    if header.kind == LONG_NAME:
        return {"path": text(content)}
    if header.kind == LONG_LINK:
        return {"linkpath": text(content)}
    fields: dict[str, str] = {}
    while content:
        digits, _, _ = content.partition(b" ")
        length = int(digits) if len(digits) < 8 and digits.isdigit() else 0
        record, content = content[len(digits) + 1 : length], content[length:]
        key, equals, value = record.removesuffix(b"\n").partition(b"=")
        if not equals:
            raise DamagedTar("has a PAX header that cannot be read")
        fields[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    return {key: value for key, value in fields.items() if key in ("path", "linkpath", "size")}
