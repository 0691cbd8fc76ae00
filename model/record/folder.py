"""A run's folder is written once, or continued: never overwritten, and by one run at a time."""

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
"""Of the file in conf/ that a run is composed from, unless `--config-name` names another."""
LOCK = ".lock"
CHECKPOINTS = "checkpoints"
# Each of these a run can go on from.
RESUMABLE = ("last.ckpt", "previous.ckpt")
# What a run that was cut before its first checkpoint has left; best.ckpt alone is no checkpoint to go on from, as it
# lies within a validation.
BEST_FILE = f"{CHECKPOINTS}/best.ckpt"
LEFT = (METRICS, "health.jsonl", SUMMARY, "data.json", "tensorboard", "wandb", "tokenizer", BEST_FILE)


class UsedFolder(ConfigError):
    """The folder holds other results, or is in use."""


def refuse_used_folder(folder: Path) -> None:
    """Raises UsedFolder when `folder` holds a run already; one that was cut before its first checkpoint holds
    nothing.
    """
    if not (folder / METRICS).exists():
        return
    if can_go_on(folder):
        raise UsedFolder(
            f"hydra.run.dir={folder} holds a run already; allowed: another folder, or ckpt_path=last beside it to go "
            f"on with that run"
        )
    own = any((folder / name).exists() for name in (LOCK, ".hydra"))
    if not own or not cut_before_checkpoint(folder):
        raise UsedFolder(
            f"hydra.run.dir={folder} holds a run already, which cannot go on; allowed: another folder, or that "
            f"folder removed"
        )


def can_go_on(folder: Path) -> bool:
    """Whether there is a checkpoint that the folder's run can be continued from."""
    return any((folder / CHECKPOINTS / name).is_file() for name in RESUMABLE)


def cut_before_checkpoint(folder: Path) -> bool:
    """Whether `folder` holds what a run has left that was cut before its first checkpoint."""
    begun = (folder / METRICS).exists() or (folder / "tokenizer").is_dir() or "reason" in read_summary(folder)
    kept = [path for path in (folder / CHECKPOINTS).glob("*.ckpt") if path != folder / BEST_FILE]
    return begun and not kept and read_summary(folder).get("status") not in ENDED


def clear_cut_run(folder: Path) -> None:
    """Removes what a run has left that was cut before its first checkpoint."""
    if (folder / METRICS).exists() or read_summary(folder):
        for path in (folder / name for name in LEFT):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def keep_function_digest(folder: Path, digest: str | None) -> None:
    """Writes the digest of the file of loss.function into .hydra/config.yaml, which Hydra has written without it, so
    that a comparison distinguishes jobs before and after an edit of the function.
    """
    path = folder / ".hydra" / "config.yaml"
    if digest is not None and first_process() and path.is_file():
        text = path.read_text(encoding="utf-8")
        write_whole(path, text.replace("function_digest: null", f"function_digest: {digest}"))


def put_away_slurm_checkpoints(folder: Path) -> None:
    """Moves what Lightning's handler for Slurm has written for older versions into checkpoints/: under Slurm, Lightning
    evaluates such a file in place of the weights that it is given.
    """
    for path in folder.glob("hpc_ckpt_*.ckpt"):
        (folder / CHECKPOINTS).mkdir(exist_ok=True)
        path.replace(folder / CHECKPOINTS / path.name)


@contextlib.contextmanager
def only_writer(folder: Path, *, waits: bool) -> Iterator[None]:
    """Holds the folder for this run. A killed process leaves no lock; the further processes of a run take none.

    While another run holds the folder: waits, or raises UsedFolder.
    """
    if not first_process():
        yield
        return
    lock = folder / LOCK
    made = not lock.exists()
    with open(lock, "w") as file:
        try:
            # The lock of a process, which workers that it forks do not hold.
            fcntl.lockf(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise UsedFolder(
                    f"hydra.run.dir={folder} is in use by another process; allowed: another folder, or to wait for "
                    f"its end"
                ) from error
            # A file system without locks.
        try:
            yield
        except ConfigError:
            if made and not waits:  # nothing was begun
                lock.unlink(missing_ok=True)
            raise
        finally:
            with contextlib.suppress(OSError):
                fcntl.lockf(file, fcntl.LOCK_UN)
