"""The cache of compiled code: a file that was changed, or that another user could have changed, is not loaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model import user_cache
from model.losses.compiled import native

pytestmark = pytest.mark.usefixtures("compiler")
SOURCE = 'extern "C" int answer() { return 42; }\n'


def forget_folders() -> None:
    """Makes the next call search for a folder, as in a new process."""
    user_cache.cache_folder.cache_clear()
    user_cache.temporary_folder.cache_clear()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget_folders()
    yield tmp_path / "nway-clip"
    forget_folders()


def answer() -> int:
    """The answer of the library, loaded as by a new process."""
    return native.build(SOURCE).library.answer()


def library_path(cache: Path) -> Path:
    """The one library in the cache."""
    assert answer() == 42
    (path,) = cache.glob("*.so")
    return path


def test_folder_and_files_are_the_users_alone(cache):
    before = os.umask(0)
    try:
        path = library_path(cache)
    finally:
        os.umask(before)
    assert [file.stat().st_mode & 0o077 for file in (cache, *cache.iterdir())] == [0, 0, 0]
    assert sorted(file.suffix for file in cache.iterdir()) == [".sha256", ".so"]
    inode = path.stat().st_ino
    assert answer() == 42
    assert path.stat().st_ino == inode, "a file that is intact is not built again"


@pytest.mark.parametrize(
    "damage", ["truncated", "empty", "other", "no_checksum", "other_checksum", "writable", "writable_checksum"]
)
def test_a_changed_file_is_built_again(cache, damage):
    path = library_path(cache)
    checksum = path.with_suffix(".sha256")
    content = path.read_bytes()
    inode_before = path.stat().st_ino
    path.rename(path.with_suffix(".away"))  # this process has it mapped: its own file must stay as it is
    path.write_bytes(
        {"truncated": content[: len(content) // 2], "empty": b"", "other": content[:-1] + b"x"}.get(damage, content)
    )
    if damage == "no_checksum":
        checksum.unlink()
    elif damage == "other_checksum":
        checksum.write_bytes(b"\xff" * 64)
    elif damage == "writable":
        path.chmod(0o720)
    elif damage == "writable_checksum":
        checksum.chmod(0o702)
    inode = path.stat().st_ino
    assert answer() == 42
    assert path.read_bytes() == content
    assert path.stat().st_ino not in (inode, inode_before)


def test_without_a_writable_file_the_temporary_folder_is_used(cache):
    path = library_path(cache)
    path.unlink()
    path.mkdir()
    assert answer() == 42
    assert (user_cache.temporary_folder() / path.name).is_file()


def test_the_folder_of_another_user_is_not_used(cache, monkeypatch):
    cache.mkdir()
    (cache / "planted").touch()
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    folder = user_cache.cache_folder()
    assert folder != cache
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("home", ["none", "file"])
def test_without_a_home_directory_the_temporary_folder_is_used(tmp_path, monkeypatch, home):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def no_home() -> Path:
        if home == "none":
            raise RuntimeError("Could not determine home directory.")
        (tmp_path / "file").touch()
        return tmp_path / "file"

    monkeypatch.setattr(Path, "home", no_home)
    forget_folders()
    assert answer() == 42
    assert user_cache.cache_folder().name.startswith("nway-clip-")
    forget_folders()
