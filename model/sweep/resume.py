"""Resumes a sweep: the files in a job's folder decide whether the job is complete, is continued or is started."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from model.checkpoint.files import LAST, hash_in_checkpoint
from model.checkpoint.healing import NewestCheckpoint, newest_undamaged, restore_last
from model.config.compose import config_hash
from model.config.schema import RunConfig
from model.launch import first_process
from model.record.files import is_damaged_name
from model.record.folder import LOCK, UsedFolder
from model.record.repairs import REPAIRS
from model.record.summary import ENDED, EVALUATION, SUMMARY, is_finished, read_summary

# The files that this attempt has written before the job begins: Hydra's files, and the record of repairs.
FILES_OF_THIS_ATTEMPT = (".hydra", "train.log", LOCK, REPAIRS)


def recorded_metrics(folder: Path, config: RunConfig) -> dict[str, float] | None:
    """Returns the figures of the job in `folder` if the job has ended and has measured all splits of `config`;
    otherwise None. Raises UsedFolder if the folder holds another job.
    """
    summary = read_summary(folder)
    refuse_other(folder, config, summary.get("config_hash"))
    if not config.train or not is_finished(folder) or "metrics" not in summary:
        return None
    measured = {key.removesuffix("/recall@1") for key in summary["metrics"]}
    return summary["metrics"] if measured.issuperset(config.evaluate) or config.trainer.fast_dev_run else None


def with_newest_checkpoint(folder: Path, config: RunConfig, *, own_folder: bool) -> RunConfig:
    """Returns `config` with `ckpt_path=last` if the folder has an undamaged checkpoint, which becomes last.ckpt.

    own_folder: whether the folder belongs to the job alone, as the folders of a sweep do. Then, if there is no
    checkpoint, all files of an interrupted attempt are removed. A folder that the user has chosen may also contain
    files of the user.
    """
    newest = newest_undamaged(folder) if config.train else NewestCheckpoint(None)
    if newest.path is not None:
        refuse_other(folder, config, hash_in_checkpoint(newest.path))
    if first_process():
        restore_last(folder, newest)
        ended = read_summary(folder).get("status") in ENDED  # new figures replace this summary later
        resumes = newest.path is not None or not config.train
        if resumes:
            remove_files(folder, (EVALUATION,) if ended else (SUMMARY, EVALUATION))
        elif own_folder:
            remove_files(folder, None)
    return replace(config, ckpt_path=LAST) if newest.path is not None else config


def remove_files(folder: Path, names: tuple[str, ...] | None) -> None:
    """Removes these files of an earlier attempt.

    names: None means all files except those of this attempt, damaged files and the record of repairs.
    """
    for path in sorted(folder.rglob("*"), reverse=True):  # the content of a folder comes before the folder
        parts = path.relative_to(folder).parts
        stays = (
            parts[0] in FILES_OF_THIS_ATTEMPT or any(map(is_damaged_name, parts))
            if names is None
            else parts[0] not in names
        )
        if stays:
            continue
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # not empty: a file in it stays
                path.rmdir()
        else:
            path.unlink()


def refuse_other(folder: Path, config: RunConfig, recorded_hash: str | None) -> None:
    """Raises UsedFolder if the folder's files come from another configuration, whose results must not be mixed with
    those of `config`.
    """
    if recorded_hash is not None and recorded_hash != config_hash(config):
        problem = (
            f"holds results of another configuration (hash {recorded_hash}; this configuration: {config_hash(config)})"
        )
        raise UsedFolder(f"{folder.name} {problem}; allowed: another folder, or remove that folder")
