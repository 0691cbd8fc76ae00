"""Errors of the file system during writing: detects them and explains each one in two lines (the file, the number of
bytes, what to do). Standard library only.
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

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Only writing raises these errors. Reading and writing both raise the others.
WRITE_ERRORS = (*DISK_FULL, errno.EROFS, errno.EFBIG)
FILE_SYSTEM_ERRORS = (
    *WRITE_ERRORS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EIO,
    errno.ENOENT,
)
# Packages written in Rust raise other errors than OSError; their text ends with the error number.
NUMBER_IN_TEXT = re.compile(r"\(os error (\d+)\)$")
ADVICE = {
    **dict.fromkeys(DISK_FULL, "make room there"),
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
    errno.ENAMETOOLONG: "choose a shorter hydra.run.dir or hydra.sweep.dir",
    errno.EIO: "check the disk",
}
OTHER_ADVICE = "choose another hydra.run.dir or hydra.sweep.dir, one that can be written to"


class NotWritten(OSError):
    """A file could not be written. `size` is the number of bytes to write; None if it is not known."""

    def __init__(self, number: int, path: Path, size: int | None) -> None:
        super().__init__(number, os.strerror(number), str(path))
        self.size = size


@contextmanager
def writing(path: Path, size: Callable[[], int] | None = None) -> Iterator[None]:
    """Turns an error of the file system inside the block into NotWritten, which names `path`.

    size: counts the bytes to write; called only after an error.
    """
    try:
        yield
    except Exception as error:
        number = next(filter(None, map(error_number, error_chain(error))), None)
        if number is None or isinstance(error, NotWritten):
            raise
        raise NotWritten(number, path, size() if size else None) from error


@contextmanager
def as_failures(folder: Path) -> Iterator[None]:
    """Turns an error of the file system inside the block, which writes to `folder`, into RunFailed."""
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
    """Suppresses the tracebacks of threads that cannot write. TensorBoard's thread passes its error to the main thread,
    which raises it.
    """
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if getattr(arguments.exc_value, "errno", None) not in WRITE_ERRORS:
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def write_failure(error: BaseException, folder: Path) -> RunFailed | None:
    """Returns the RunFailed that explains `error` if the error, or one of its causes, is an error of the file system
    while the program wrote to `folder`; otherwise None.
    """
    if isinstance(error, (ConfigError, RunFailed)):
        return None
    causes = [cause for cause in error_chain(error) if isinstance(cause, OSError) and is_write_error(cause, folder)]
    if not causes:
        return None
    return write_failure_of(next((cause for cause in causes if isinstance(cause, NotWritten)), causes[0]), folder)


def write_failure_of(error: OSError, folder: Path) -> RunFailed:
    """Returns the two lines for an error that occurred while the program wrote to `folder`."""
    advice = OTHER_ADVICE if error.errno is None else ADVICE.get(error.errno, OTHER_ADVICE)
    return RunFailed(
        f"{description(error, folder)}\n{advice}, then give the same command again{resume_argument(folder)}"
    )


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """Yields the error and its causes, the latest first."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def error_number(error: BaseException) -> int | None:
    """Returns the number of a file system's error; None for other errors."""
    in_text = NUMBER_IN_TEXT.search(str(error))
    number = error.errno if isinstance(error, OSError) else int(in_text.group(1)) if in_text else None
    return number if number in FILE_SYSTEM_ERRORS else None


def is_write_error(error: OSError, folder: Path) -> bool:
    """Whether the error comes from writing. Errors that reading can raise too count if their file is in `folder`."""
    if isinstance(error, NotWritten) or error.errno in WRITE_ERRORS:
        return True
    if not isinstance(error.filename, str) or error_number(error) in (None, errno.ENOENT):
        return False
    return Path(error.filename).absolute().is_relative_to(folder.absolute())


def description(error: OSError, folder: Path) -> str:
    """Describes the error in one line: the file, the reason, the bytes to write and the free bytes."""
    path = Path(error.filename) if isinstance(error.filename, str) else None
    size, free = getattr(error, "size", None), free_bytes(path or folder)
    numbers = [
        *([] if size is None else [f"{size:,} bytes were to be written"]),
        *([] if free is None else [f"{free:,} bytes are free there"]),
    ]
    problem = f"{path or f'a file in {folder}'} could not be written ({error.strerror})"
    return f"{problem}: {', '.join(numbers)}" if numbers else problem


def free_bytes(path: Path) -> int | None:
    """Returns the free bytes of the file system that holds `path`, or that would hold it; None if they are not
    known.
    """
    for place in (path, *path.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:  # the path does not exist, or its parent is a file
            continue
    return None


def resume_argument(folder: Path) -> str:
    """Returns the argument that the command needs to continue the run in `folder`; empty if there is no checkpoint."""
    from model.record.folder import CHECKPOINTS, RESUMABLE  # imported here: model.record.folder imports this module

    resumes = any(os.path.isfile(folder / CHECKPOINTS / name) for name in RESUMABLE)
    return ", with ckpt_path=last" if resumes else ""
