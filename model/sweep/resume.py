"""A sweep goes on where it was cut: what a job's folder holds decides whether the job is done, continued or started."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from model.checkpoint.files import LAST, hash_in_checkpoint
from model.checkpoint.healing import Newest, newest_whole, put_in_place
from model.config.compose import config_hash
from model.config.schema import RunConfig
from model.launch import first_process
from model.record.files import is_set_aside
from model.record.folder import LOCK, UsedFolder
from model.record.repairs import REPAIRS
from model.record.summary import ENDED, EVALUATION, SUMMARY, is_finished, read_summary

# What has been written for this attempt before the job begins: by Hydra, and about damaged files.
THIS_ATTEMPT = (".hydra", "train.log", LOCK, REPAIRS)


def recorded_metrics(folder: Path, config: RunConfig) -> dict[str, float] | None:
    """The figures of the job in `folder` if it has ended with all that `config` asks for, else None. Raises UsedFolder
    where it was another job.
    """
    summary = read_summary(folder)
    refuse_other(folder, config, summary.get("config_hash"))
    if not config.train or not is_finished(folder) or "metrics" not in summary:
        return None
    measured = {key.removesuffix("/recall@1") for key in summary["metrics"]}
    return summary["metrics"] if measured.issuperset(config.evaluate) or config.trainer.fast_dev_run else None


def continued(folder: Path, config: RunConfig, *, own_folder: bool) -> RunConfig:
    """`config`, with the folder's newest whole checkpoint as `ckpt_path` where there is one.

    own_folder: whether the folder is a job's alone, as those of a sweep are: then, without a checkpoint, everything
    that a cut attempt has left in it is removed. In a folder that the user has named, files of the user may stand
    beside the run's.
    """
    newest = newest_whole(folder) if config.train else Newest(None)
    if newest.path is not None:
        refuse_other(folder, config, hash_in_checkpoint(newest.path))
    if first_process():
        put_in_place(folder, newest)
        ended = read_summary(folder).get("status") in ENDED  # what is measured again replaces it
        goes_on = newest.path is not None or not config.train
        if goes_on or own_folder:
            clear(folder, (*(() if ended else (SUMMARY,)), EVALUATION) if goes_on else None)
    return replace(config, ckpt_path=LAST) if newest.path is not None else config


def clear(folder: Path, names: tuple[str, ...] | None) -> None:
    """Removes these files of an earlier attempt; None: all that is not this attempt's, except what was damaged and the
    record of it.
    """
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        parts = path.relative_to(folder).parts
        kept = parts[0] in THIS_ATTEMPT or any(map(is_set_aside, parts)) if names is None else parts[0] not in names
        if kept:
            continue
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # not empty: something in it is kept
                path.rmdir()
        else:
            path.unlink()


def refuse_other(folder: Path, config: RunConfig, found: str | None) -> None:
    """Raises UsedFolder when the folder's files come from another configuration: two must never be mixed."""
    if found is not None and found != config_hash(config):
        problem = f"holds results of another configuration ({found}, now {config_hash(config)})"
        raise UsedFolder(f"{folder.name} {problem}; allowed: another folder, or that folder removed")
