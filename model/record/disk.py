"""Errors of a file system while a run writes: which they are, and the two lines that say which file, how many bytes,
what to do. Standard library.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import ConfigError, RunFailed

FULL = (errno.ENOSPC, errno.EDQUOT)
# Only writing brings these; reading may bring the others too.
OF_WRITING = (*FULL, errno.EROFS, errno.EFBIG)
OF_FILE_SYSTEMS = (
    *OF_WRITING,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EIO,
    errno.ENOENT,
)
# How packages that are written in Rust end the text of such an error, which is no OSError.
IN_TEXT = re.compile(r"\(os error (\d+)\)$")
ADVICE = {
    **dict.fromkeys(FULL, "make room there"),
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
    errno.ENAMETOOLONG: "choose a shorter hydra.run.dir or hydra.sweep.dir",
    errno.EIO: "check the disk",
}


class NotWritten(OSError):
    """A file could not be written. `size`: the bytes that were to be written, None where that is not known."""

    def __init__(self, number: int, path: Path, size: int | None) -> None:
        super().__init__(number, os.strerror(number), str(path))
        self.size = size


@contextmanager
def writing(path: Path, size: Callable[[], int] | None = None) -> Iterator[None]:
    """Turns an error of the file system inside the block into NotWritten, which names `path`; `size` counts the bytes
    to be written, if it fails.
    """
    try:
        yield
    except Exception as error:
        number = next(filter(None, map(error_number, chain(error))), None)
        if number is None or isinstance(error, NotWritten):
            raise
        raise NotWritten(number, path, size() if size else None) from error


@contextmanager
def as_failures(folder: Path) -> Iterator[None]:
    """Turns an error of the file system while something in `folder` is written into RunFailed."""
    with quiet_threads():
        try:
            yield
        except Exception as error:
            failure = write_failure(error, folder)
            if failure is None:
                raise
            raise failure from error


@contextmanager
def quiet_threads() -> Iterator[None]:
    """In the block, threads that cannot write print no traceback: TensorBoard's hands its error to the main thread,
    which then raises it.
    """
    before = threading.excepthook

    def hook(report: threading.ExceptHookArgs) -> None:
        if getattr(report.exc_value, "errno", None) not in OF_WRITING:
            before(report)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def write_failure(error: BaseException, folder: Path) -> RunFailed | None:
    """What to say where `error`, or an error that it comes from, is one of the file system while something in `folder`
    was written; else None.
    """
    if isinstance(error, (ConfigError, RunFailed)):
        return None
    found = [one for one in chain(error) if isinstance(one, OSError) and is_of_writing(one, folder)]
    if not found:
        return None
    return explained(next((one for one in found if isinstance(one, NotWritten)), found[0]), folder)


def explained(error: OSError, folder: Path) -> RunFailed:
    """The two lines for an error that arose while something in `folder` was written."""
    return RunFailed(
        f"{description(error, folder)}\n{advice(error.errno)}, then give the same command again{going_on(folder)}"
    )


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it comes from, the latest first."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def error_number(error: BaseException) -> int | None:
    """The number of a file system's error; None for other errors."""
    in_text = IN_TEXT.search(str(error))
    number = error.errno if isinstance(error, OSError) else int(in_text.group(1)) if in_text else None
    return number if number in OF_FILE_SYSTEMS else None


def is_of_writing(error: OSError, folder: Path) -> bool:
    """Whether it arose from writing: surely, or by what its file is."""
    if isinstance(error, NotWritten) or error.errno in OF_WRITING:
        return True
    named = isinstance(error.filename, str) and error_number(error) not in (None, errno.ENOENT)
    return named and Path(error.filename).absolute().is_relative_to(folder.absolute())


def description(error: OSError, folder: Path) -> str:
    """One line: the file, the reason, the bytes."""
    path = Path(error.filename) if isinstance(error.filename, str) else None
    size, free = getattr(error, "size", None), free_bytes(path or folder)
    wanted = "" if size is None else f"{size:,} bytes were to be written, "
    left = "" if free is None else f"{free:,} bytes are free there"
    return f"{path or f'a file in {folder}'} could not be written ({error.strerror}): {wanted}{left}".removesuffix(
        ": "
    ).removesuffix(", ")


def free_bytes(path: Path) -> int | None:
    """Of the file system that `path` is on, or would be; None where it does not say."""
    for place in (path, *path.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:  # not there, or below a file
            continue
    return None


def advice(number: int | None) -> str:
    """What mends it."""
    return ADVICE.get(number, "choose another hydra.run.dir or hydra.sweep.dir, one that can be written to")


def going_on(folder: Path) -> str:
    """What the command needs beside it in order to go on with the run in `folder`."""
    from model.record.folder import CHECKPOINTS, RESUMABLE  # here, as what that module imports needs this one

    return ", with ckpt_path=last" if any(os.path.isfile(folder / CHECKPOINTS / name) for name in RESUMABLE) else ""
