"""A lock that processes share through a file, which does not remain."""

from __future__ import annotations

import pytest

from model.data import file_lock
from model.data.file_lock import FileLock


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Returns the path of a lock. Processes that wait for it do not pause."""
    monkeypatch.setattr(file_lock, "PAUSE", 0.0)
    return tmp_path / "folder.lock"


def is_locked(path) -> bool:
    """Returns whether another process cannot acquire the lock on the file at `path`."""
    with path.open("w") as file:
        return not file_lock.try_lock(file)


def test_a_released_lock_leaves_no_file(path):
    lock = FileLock(path)
    lock.acquire(pytest.fail)
    assert is_locked(path)
    lock.release()
    assert not path.exists()
    lock.release()  # has no effect


def test_a_file_of_a_killed_process_is_no_obstacle(path):
    path.touch()
    lock = FileLock(path)
    lock.acquire(pytest.fail)
    assert is_locked(path)
    lock.release()
    assert not path.exists()


def test_a_lock_on_a_removed_file_is_not_used(path, monkeypatch):
    """The first process releases the lock after the second has opened the file and before it tries to lock it."""
    first, second = FileLock(path), FileLock(path)
    first.acquire(pytest.fail)
    try_lock = file_lock.try_lock

    def lock_after_release(file) -> bool:
        first.release()
        return try_lock(file)

    with monkeypatch.context() as patch:
        patch.setattr(file_lock, "try_lock", lock_after_release)
        second.acquire(lambda: None)
    assert path.exists()
    assert is_locked(path)
    second.release()


def test_waiting_is_reported_once(path):
    first, second = FileLock(path), FileLock(path)
    first.acquire(pytest.fail)
    attempts = []

    def report() -> None:
        attempts.append("wait")
        first.release()

    second.acquire(report)
    assert attempts == ["wait"]
    assert is_locked(path)
    second.release()


def test_a_path_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        FileLock(tmp_path / "missing" / "folder.lock").acquire(pytest.fail)
