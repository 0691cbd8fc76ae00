"""A damaged checkpoint of a run: how it is noticed, and which other one takes its place."""

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
    """Why no run can use the checkpoint at `path`, in words; None where it is whole. Reads the whole file.

    torch.load does not compare the checksums that torch.save writes for every tensor; this does. Raises RunFailed where
    the system cannot read the file, for example without permission, as the file may be whole.
    """
    try:
        if not path.is_file():
            return "it is a folder" if path.is_dir() else "it is no file"
        if not zipfile.is_zipfile(path):
            return "it is empty, cut or another kind of file"
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
        if changed is not None:
            return f"the checksum of {changed} is wrong"
        read_checkpoint(path, mapped=True)
    except NotACheckpoint as error:
        return error.reason
    except MemoryError:
        raise
    except OSError as error:
        if error.errno in (
            errno.EINVAL,
            errno.ENOENT,
        ):  # an offset that no file has; a file that another process has just moved aside
            return str(error)
        raise RunFailed(
            f"{path} cannot be read: {error.strerror}\nmake it readable, or remove it if it is lost"
        ) from error
    except Exception as error:  # a damaged directory of the archive fails anywhere in zipfile
        return f"{type(error).__name__}: {error}".splitlines()[0][:100]
    return None


@dataclass(frozen=True)
class Newest:
    """The newest whole checkpoint of a run, and why those that are newer cannot be used."""

    path: Path | None
    damaged: dict[Path, str] = field(default_factory=dict)


def newest_whole(run_dir: Path) -> Newest:
    """last.ckpt, or where it is damaged or missing previous.ckpt. Changes nothing. Raises RunFailed as `damage`
    does.
    """
    damaged: dict[Path, str] = {}
    for path in (checkpoint_path(run_dir, name) for name in (LAST, PREVIOUS)):
        if os.path.lexists(path):
            reason = damage(path)
            if reason is None:
                return Newest(path, damaged)
            damaged[path] = reason
    return Newest(None, damaged)


def put_in_place(run_dir: Path, newest: Newest) -> None:
    """Moves the damaged ones aside and makes the newest whole checkpoint the last one. For the first process."""
    last = checkpoint_path(run_dir, LAST)
    instead = "the run starts from the beginning" if newest.path is None else f"{newest.path.name} is used instead"
    if newest.path not in (None, last) and last not in newest.damaged:
        record_repair(run_dir, f"{last.relative_to(run_dir)} is missing; {instead}")
    for path, reason in newest.damaged.items():
        move_damaged(run_dir, path, reason, instead)
    if newest.path not in (None, last):
        link_or_copy(newest.path, last)


def checkpoint_to_start(run_dir: Path, asked: str, *, trains: bool) -> Path:
    """The checkpoint that `ckpt_path=<asked>` means, as `find_checkpoint`; a run that trains on from `last` goes back
    to the one before where last.ckpt is damaged. Raises ConfigError where there is none or where the one that is asked
    for is damaged, RunFailed as `damage` does.
    """
    if asked != LAST or not trains:
        path = find_checkpoint(run_dir, asked)
        reason = damage(path)
        if reason is not None:
            raise with_others(run_dir, asked, NotACheckpoint(path, reason))
        return path
    newest = newest_whole(run_dir)
    if newest.path is None and newest.damaged:
        told = " and ".join(f"{path} ({reason})" for path, reason in newest.damaged.items())
        raise ConfigError(
            f"ckpt_path=last is damaged: {told}\nallowed: another hydra.run.dir, without ckpt_path, to train from "
            f"the beginning"
        )
    if newest.path is not None and first_process():
        put_in_place(run_dir, newest)
    last = checkpoint_path(run_dir, LAST)
    return newest.path if newest.path is not None and not last.is_file() else find_checkpoint(run_dir, asked)


def with_others(run_dir: Path, asked: str, error: ConfigError) -> ConfigError:
    """The error for a damaged last.ckpt or best.ckpt, with a second line: the run's checkpoints that are whole. Any
    other file's as it is.
    """
    if asked not in (LAST, BEST):
        return error
    others = (checkpoint_path(run_dir, name) for name in (BEST, LAST, PREVIOUS) if name != asked)
    whole = [f"ckpt_path={path}" for path in others if path.is_file() and damage(path) is None]
    return ConfigError(
        f"{error}\n{'these are whole: ' + ', '.join(whole) if whole else 'no other checkpoint of this run is whole'}"
    )


def best_is_whole(run_dir: Path, score: float | None, instead: str) -> bool:
    """Whether best.ckpt can be used; a damaged one is moved aside. For the first process.

    score: that of best.ckpt as far as the run knows; with None a missing file is no loss. instead: what happens without
    it, in words. Raises RunFailed as `damage` does.
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
