"""The files of tars in all formats, as Python's tarfile finds them; damage; and tars that cannot be read by offset."""

from __future__ import annotations

import gzip
import io
import os
import tarfile

import pytest

from model.data.tar_index import CompressedTar, TarMember, read_tar
from tests.data.shard_files import write_tar

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
SHORT = {"a.jpg": b"12", "./b/c.txt": b"", "é/ü.png": bytes(1000), "x" * 80 + "/" + "y" * 90 + ".json": bytes(512)}
LONG = {**SHORT, "z" * 300 + ".jpg": b"3", "d/" * 70 + "e.txt": b"4"}


def found_by_tarfile(path) -> list[TarMember]:
    """The files of a tar, read by Python's tarfile."""
    with tarfile.open(path) as tar:
        return [TarMember(one.name, one.offset_data, one.size) for one in tar if one.isreg()]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_as_tarfile_reads_it(form, tmp_path):
    path = write_tar(tmp_path / "a.tar", SHORT if form == "ustar" else LONG, FORMATS[form])
    content = read_tar(path)
    assert content.members == found_by_tarfile(path)
    assert [member.name for member in content.members] == list(SHORT if form == "ustar" else LONG)
    assert content.problem is None


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_a_file_of_more_than_8_gib_and_the_file_after_it(form, tmp_path):
    """The header gives the size in base 256, or in PAX data. The file has a hole."""
    size = 9 << 30
    large, small = tarfile.TarInfo("large.bin"), tarfile.TarInfo("small.txt")
    large.size, small.size = size, 3
    with open(tmp_path / "a.tar", "wb") as file:
        file.write(large.tobuf(FORMATS[form]))
        start = file.tell()
        file.seek(start + size)
        file.write(small.tobuf(FORMATS[form]) + b"abc".ljust(512, b"\0") + bytes(1024))
    content = read_tar(tmp_path / "a.tar")
    assert content.members[0] == TarMember("large.bin", start, size)
    assert content.members[1].name == "small.txt"
    assert (content.members[1].size, content.problem) == (3, None)


def test_a_hard_link_has_the_content_of_its_file_and_other_entries_are_left_out(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind, link in (
            ("folder", tarfile.DIRTYPE, ""),
            ("a.jpg", tarfile.REGTYPE, ""),
            ("b.jpg", tarfile.LNKTYPE, "a.jpg"),
            ("c.jpg", tarfile.SYMTYPE, "a.jpg"),
            ("d.jpg", tarfile.LNKTYPE, "missing.jpg"),
            ("e.txt", tarfile.REGTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = 5 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"12345") if info.size else None)
    content = read_tar(tmp_path / "a.tar")
    assert [member.name for member in content.members] == ["a.jpg", "b.jpg", "e.txt"]
    assert content.members[1][1:] == content.members[0][1:]


@pytest.mark.parametrize(
    ("kept", "files", "problem"),
    [
        (512 + 100, 0, "is truncated at byte 612, within a.txt"),
        (1024, 1, "ends without an end mark, so that files may be missing"),
        (1024 + 300, 1, "is truncated at byte 1,324"),
        (0, 0, "ends without an end mark, so that files may be missing"),
    ],
)
def test_what_is_before_the_end_of_a_truncated_tar_is_found(kept, files, problem, tmp_path):
    path = write_tar(tmp_path / "a.tar", {"a.txt": bytes(512), "b.txt": bytes(512)})
    os.truncate(path, kept)
    content = read_tar(path)
    assert ([member.name for member in content.members], content.problem) == (["a.txt"][:files], problem)


@pytest.mark.parametrize("byte", [1024, 1024 + 130, 1024 + 150])
def test_what_is_before_a_damaged_header_is_found(byte, tmp_path):
    """A byte of the second header's name, size or check sum is changed."""
    path = write_tar(tmp_path / "a.tar", {"a.txt": bytes(512), "b.txt": bytes(512)})
    content = bytearray(path.read_bytes())
    content[byte] ^= 0x55
    path.write_bytes(content)
    found = read_tar(path)
    assert [member.name for member in found.members] == ["a.txt"]
    assert found.problem == "has no valid header at byte 1,024"


def test_a_file_that_is_no_tar_has_no_files(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar at all" * 100)
    assert read_tar(tmp_path / "a.tar") == ([], "has no valid header at byte 0")


def test_damaged_pax_data(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"z" * 300: b"1"}, tarfile.PAX_FORMAT)
    content = path.read_bytes()
    for wrong in (content.replace(b" path=", b"!path="), content.replace(b"path=zz", b"size=-1"[:7])):
        path.write_bytes(wrong)
        assert read_tar(path).members == []
        assert "PAX header" in read_tar(path).problem


def test_a_compressed_tar_is_refused(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(bytes(2048)))
    with pytest.raises(CompressedTar, match="is compressed with gzip"):
        read_tar(tmp_path / "a.tar.gz")
