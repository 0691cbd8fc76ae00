"""A sweep goes on where it was cut: what a job's folder holds decides whether the job is done, continued or started."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from model.checkpoint.files import LAST, checkpoint_path, hash_in_checkpoint
from model.config.compose import config_hash
from model.config.folder import LOCK, UsedFolder
from model.config.schema import RunConfig
from model.launch import first_process
from model.report.summary import ENDED, EVALUATION, SUMMARY, is_finished, read_summary

# What Hydra has written for this attempt before the job begins.
THIS_ATTEMPT = (".hydra", "train.log", LOCK)


def recorded_metrics(folder: Path, config: RunConfig) -> dict[str, float] | None:
    """The figures of the job in `folder` if it has ended with all that `config` asks for, else None. Raises UsedFolder where it was another job."""
    summary = read_summary(folder)
    refuse_other(folder, config, summary.get("config_hash"))
    if not config.train or not is_finished(folder) or "metrics" not in summary:
        return None
    measured = {key.removesuffix("/recall@1") for key in summary["metrics"]}
    return summary["metrics"] if measured.issuperset(config.evaluate) or config.trainer.fast_dev_run else None


def continued(folder: Path, config: RunConfig) -> RunConfig:
    """`config`, to go on from the folder's last checkpoint; without one, the folder is emptied of what a cut attempt has left."""
    last = checkpoint_path(folder, LAST)
    goes_on = config.train and last.is_file()
    if goes_on:
        refuse_other(folder, config, hash_in_checkpoint(last))
    if first_process():
        ended = read_summary(folder).get("status") in ENDED  # what is measured again replaces it
        clear(folder, (*(() if ended else (SUMMARY,)), EVALUATION) if goes_on or not config.train else None)
    return replace(config, ckpt_path=LAST) if goes_on else config


def clear(folder: Path, names: tuple[str, ...] | None) -> None:
    """Removes these files of an earlier attempt; None: all that is not this attempt's."""
    for path in folder.iterdir():
        if path.name not in THIS_ATTEMPT if names is None else path.name in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def refuse_other(folder: Path, config: RunConfig, found: str | None) -> None:
    """Raises UsedFolder when the folder's files come from another configuration: two must never be mixed."""
    if found is not None and found != config_hash(config):
        problem = f"holds results of another configuration ({found}, now {config_hash(config)})"
        raise UsedFolder(f"{folder.name} {problem}; allowed: another folder, or that folder removed")
