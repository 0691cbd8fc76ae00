"""A run's folder is written once, or continued: never overwritten."""

from __future__ import annotations

import os
from pathlib import Path

from model.errors import ConfigError

METRICS = "metrics.csv"
CONFIG_NAME = "train"
"""Of the file in conf/ that a run is composed from, unless `--config-name` names another."""


class UsedFolder(ConfigError):
    """The folder holds other results."""


def refuse_used_folder(folder: Path) -> None:
    """Raises ConfigError when `folder` holds a run's metrics already."""
    if (folder / METRICS).exists():
        raise UsedFolder(f"hydra.run.dir={folder} holds a run already; allowed: another folder, or ckpt_path=last beside it to go on with that run")


def first_process() -> bool:
    """Whether this process may change the run's folder: of the processes that train together, one does. Lightning numbers those that it starts."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
