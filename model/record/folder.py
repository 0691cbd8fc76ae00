"""Protects a run's folder: one run writes to it at a time, and a run that has a checkpoint is continued, never
overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from model.errors import ConfigError
from model.launch import first_process
from model.record.files import write_whole
from model.record.summary import ENDED, SUMMARY, read_summary

METRICS = "metrics.csv"
CONFIG_NAME = "train"
"""The name of the file in conf/ from which a run is composed, unless `--config-name` names another."""
LOCK = ".lock"
CHECKPOINTS = "checkpoints"
INITIAL = "initial.pt"
"""The weights of init_from with which the run began."""
# The checkpoints from which a run can continue. best.ckpt is not one of them: it is written during a validation.
RESUMABLE = ("last.ckpt", "previous.ckpt")
BEST_FILE = f"{CHECKPOINTS}/best.ckpt"
# The files that a run can leave if it was interrupted before its first checkpoint.
FILES_WITHOUT_CHECKPOINT = (
    METRICS,
    "health.jsonl",
    SUMMARY,
    "data.json",
    "tensorboard",
    "wandb",
    "tokenizer",
    INITIAL,
    BEST_FILE,
)


class UsedFolder(ConfigError):
    """The folder holds other results, or another process uses it."""


def refuse_used_folder(folder: Path) -> None:
    """Raises UsedFolder if `folder` holds a run, unless that run was interrupted before its first checkpoint."""
    if not (folder / METRICS).exists():
        return
    if can_resume(folder):
        raise UsedFolder(
            f"hydra.run.dir={folder} holds a run already; allowed: another folder, or ckpt_path=last to continue "
            f"that run"
        )
    written_by_run = any((folder / name).exists() for name in (LOCK, ".hydra"))
    if not written_by_run or not has_run_without_checkpoint(folder):
        raise UsedFolder(
            f"hydra.run.dir={folder} holds a run already, which cannot be continued; allowed: another folder, or "
            f"remove that folder"
        )


def can_resume(folder: Path) -> bool:
    """Whether the run in `folder` has a checkpoint from which it can continue."""
    return any((folder / CHECKPOINTS / name).is_file() for name in RESUMABLE)


def has_run_without_checkpoint(folder: Path) -> bool:
    """Whether `folder` holds the files of a run that was interrupted before its first checkpoint."""
    begun = (folder / METRICS).exists() or (folder / "tokenizer").is_dir() or "reason" in read_summary(folder)
    checkpoints = [path for path in (folder / CHECKPOINTS).glob("*.ckpt") if path != folder / BEST_FILE]
    return begun and not checkpoints and read_summary(folder).get("status") not in ENDED


def remove_run_without_checkpoint(folder: Path) -> None:
    """Removes the files of a run that was interrupted before its first checkpoint."""
    if (folder / METRICS).exists() or read_summary(folder):
        for path in (folder / name for name in FILES_WITHOUT_CHECKPOINT):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def keep_function_digest(folder: Path, digest: str | None) -> None:
    """Writes the digest of the file of loss.function into .hydra/config.yaml, which Hydra has written without it, so
    that a comparison distinguishes jobs before and after an edit of the function.
    """
    path = folder / ".hydra" / "config.yaml"
    if digest is not None and first_process() and path.is_file():
        text = path.read_text(encoding="utf-8")
        write_whole(path, text.replace("function_digest: null", f"function_digest: {digest}"))


def move_slurm_checkpoints(folder: Path) -> None:
    """Moves the files that Lightning's Slurm handler wrote in older versions to checkpoints/. Under Slurm, Lightning
    would evaluate such a file instead of the given weights.
    """
    for path in folder.glob("hpc_ckpt_*.ckpt"):
        (folder / CHECKPOINTS).mkdir(exist_ok=True)
        path.replace(folder / CHECKPOINTS / path.name)


@contextlib.contextmanager
def only_writer(folder: Path, *, waits: bool) -> Iterator[None]:
    """Locks the folder for this run. The system releases the lock of a killed process. Only the first process of a run
    takes the lock.

    waits: whether to wait while another run holds the lock; otherwise raises UsedFolder.
    """
    if not first_process():
        yield
        return
    lock = folder / LOCK
    is_new = not lock.exists()
    with open(lock, "w") as file:
        try:
            # lockf belongs to the process: workers that it forks do not hold the lock.
            fcntl.lockf(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise UsedFolder(
                    f"hydra.run.dir={folder} is in use by another process; allowed: another folder, or wait until that "
                    f"process ends"
                ) from error
            # This file system has no locks.
        try:
            yield
        except ConfigError:
            if is_new and not waits:  # the run did not start
                lock.unlink(missing_ok=True)
            raise
        finally:
            with contextlib.suppress(OSError):
                fcntl.lockf(file, fcntl.LOCK_UN)
