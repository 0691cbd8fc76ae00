"""Detects damaged checkpoints of a run and replaces them with undamaged ones."""

from __future__ import annotations

import errno
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from model.checkpoint.files import (
    BEST,
    LAST,
    PREVIOUS,
    NotACheckpoint,
    checkpoint_path,
    find_checkpoint,
    read_checkpoint,
)
from model.errors import ConfigError, RunFailed
from model.launch import first_process
from model.record.files import link_or_copy
from model.record.repairs import move_damaged, record_repair


def damage(path: Path) -> str | None:
    """Returns why the checkpoint at `path` is damaged, as a clause; None if it is undamaged. Reads the whole file.

    torch.save writes a checksum for every tensor, but torch.load does not compare it; this function does. Raises
    RunFailed if the system cannot read the file, for example without permission: the file may be undamaged.
    """
    try:
        return damage_in_file(path)
    except NotACheckpoint as error:
        return error.reason
    except MemoryError:
        raise
    except OSError as error:
        # EINVAL: a damaged file contains an invalid offset. ENOENT: another process has just renamed the file.
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return str(error)
        problem = f"{path} cannot be read: {error.strerror}"
        raise RunFailed(f"{problem}\nmake it readable, or remove it if it cannot be recovered") from error
    except Exception as error:  # zipfile raises many kinds of errors for a damaged archive
        return f"{type(error).__name__}: {error}".splitlines()[0][:100]


def damage_in_file(path: Path) -> str | None:
    """Returns the damage that the archive's checksums or its entries show; raises the errors of the file and of its
    readers.
    """
    if not path.is_file():
        return "it is a folder" if path.is_dir() else "it is not a file"
    if not zipfile.is_zipfile(path):
        return "it is empty, truncated or another kind of file"
    with zipfile.ZipFile(path) as archive:
        changed = archive.testzip()
    if changed is not None:
        return f"the checksum of {changed} is wrong"
    read_checkpoint(path, mapped=True)
    return None


@dataclass(frozen=True)
class NewestCheckpoint:
    """The newest undamaged checkpoint of a run, and the newer checkpoints, which are damaged."""

    path: Path | None
    """None if no checkpoint is undamaged."""
    damaged: dict[Path, str] = field(default_factory=dict)
    """Damaged checkpoint -> its damage, as a clause."""


def newest_undamaged(run_dir: Path) -> NewestCheckpoint:
    """Returns last.ckpt or, if it is damaged or missing, previous.ckpt. Changes no file. Raises RunFailed as `damage`
    does.
    """
    damaged: dict[Path, str] = {}
    for path in (checkpoint_path(run_dir, name) for name in (LAST, PREVIOUS)):
        if os.path.lexists(path):
            reason = damage(path)
            if reason is None:
                return NewestCheckpoint(path, damaged)
            damaged[path] = reason
    return NewestCheckpoint(None, damaged)


def restore_last(run_dir: Path, newest: NewestCheckpoint) -> None:
    """Renames the damaged checkpoints and makes the newest undamaged one last.ckpt. For the first process of a run."""
    last = checkpoint_path(run_dir, LAST)
    instead = "the run starts from the beginning" if newest.path is None else f"{newest.path.name} is used instead"
    replaced = newest.path is not None and newest.path != last
    if replaced and last not in newest.damaged:
        record_repair(run_dir, f"{last.relative_to(run_dir)} is missing; {instead}")
    for path, reason in newest.damaged.items():
        move_damaged(run_dir, path, reason, instead)
    if newest.path is not None and replaced:
        link_or_copy(newest.path, last)


def checkpoint_to_start(run_dir: Path, ckpt_path: str, *, trains: bool) -> Path:
    """Returns the checkpoint for a value of ckpt_path, as `find_checkpoint` does, and checks it for damage.

    A run that trains and resumes from `last` uses previous.ckpt if last.ckpt is damaged. Raises ConfigError if there is
    no checkpoint or if it is damaged, and RunFailed as `damage` does.
    """
    if ckpt_path != LAST or not trains:
        path = find_checkpoint(run_dir, ckpt_path)
        reason = damage(path)
        if reason is not None:
            raise with_undamaged(run_dir, ckpt_path, NotACheckpoint(path, reason))
        return path
    newest = newest_undamaged(run_dir)
    if newest.path is None and newest.damaged:
        damaged = " and ".join(f"{path} ({reason})" for path, reason in newest.damaged.items())
        raise ConfigError(
            f"ckpt_path=last is damaged: {damaged}\nallowed: another hydra.run.dir, without ckpt_path, to train from "
            f"the beginning"
        )
    if newest.path is not None and first_process():
        restore_last(run_dir, newest)
    last = checkpoint_path(run_dir, LAST)
    return newest.path if newest.path is not None and not last.is_file() else find_checkpoint(run_dir, ckpt_path)


def with_undamaged(run_dir: Path, ckpt_path: str, error: ConfigError) -> ConfigError:
    """Returns the error with a second line that lists the undamaged checkpoints of the run. If `ckpt_path` is neither
    `last` nor `best`, returns the error unchanged.
    """
    if ckpt_path not in (LAST, BEST):
        return error
    others = (checkpoint_path(run_dir, name) for name in (BEST, LAST, PREVIOUS) if name != ckpt_path)
    undamaged = [f"ckpt_path={path}" for path in others if path.is_file() and damage(path) is None]
    hint = f"undamaged: {', '.join(undamaged)}" if undamaged else "this run has no undamaged checkpoint"
    return ConfigError(f"{error}\n{hint}")


def best_is_undamaged(run_dir: Path, score: float | None, instead: str) -> bool:
    """Whether best.ckpt exists and is undamaged; renames a damaged one. For the first process of a run.

    score: the score of best.ckpt that the run knows; None if the run has no best.ckpt yet. instead: a clause that says
    what happens without the file. Raises RunFailed as `damage` does.
    """
    best = checkpoint_path(run_dir, BEST)
    if not os.path.lexists(best):
        if score is not None:
            record_repair(run_dir, f"{best.relative_to(run_dir)} is missing; {instead}")
        return False
    reason = damage(best)
    if reason is not None:
        move_damaged(run_dir, best, reason, instead)
    return reason is None
