"""The loggers beside metrics.csv, by their name in conf/logger: how one is made, what it gets at the end, how it is
closed.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import Logger

from model.config.schema import LoggerConfig, WandbConfig
from model.errors import ConfigError
from model.launch import first_process
from model.record.disk import write_failure
from model.record.files import write_whole

WANDB_ID = "wandb_id"


def make_loggers(config: LoggerConfig, folder: Path, steps: int = 0) -> list[Logger]:
    """The loggers beside metrics.csv. steps: those that a run which goes on has made already. Raises ConfigError where
    a package is missing.
    """
    kind = KINDS.get(config.name)
    if kind is None:
        return []
    try:
        return [kind.make(config, folder, steps)]
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"logger={config.name} needs a package; allowed: after pip install nway-clip[{config.name}]"
        ) from error


def finish_loggers(
    config: LoggerConfig,
    folder: Path,
    loggers: Sequence[Logger],
    figures: Mapping[str, float],
    pictures: Sequence[Path],
    step: int,
) -> None:
    """Gives every logger what comes at the end of a run: figures of the held-out splits, and the report's pictures (PNG
    files).

    What goes wrong is a warning: the run is done, and its files are written. Only an error of the file system is
    raised.
    """
    try:
        for logger in loggers:
            logger.log_metrics(dict(figures), step=step)
            for picture in pictures:
                KINDS[config.name].show(logger, f"report/{picture.stem}", picture, step)
        close_loggers(config, failed=False)
    except Exception as error:
        if write_failure(error, folder):
            raise
        warnings.warn(
            f"logger={config.name} did not get the end of the run: {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )


def close_loggers(config: LoggerConfig, *, failed: bool) -> None:
    """Ends what the next run of this process would otherwise go on with."""
    if config.name in KINDS:
        KINDS[config.name].close(failed)


@dataclass(frozen=True)
class Kind:
    """What there is to know about a logger."""

    make: Callable[[Any, Path, int], Logger]
    """Configuration, the run's folder, steps already made."""
    show: Callable[[Any, str, Path, int], None]
    """Logger, name, PNG file, step."""
    close: Callable[[bool], None]
    """Whether the run failed."""


def tensorboard(config: LoggerConfig, folder: Path, steps: int) -> Logger:
    """Event files in the run's folder. TensorBoard does not show what earlier files have of the steps that are made
    again.
    """
    from pytorch_lightning.loggers import TensorBoardLogger

    purge = {"purge_step": steps + 1} if steps else {}
    return TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False, **purge)


def show_in_tensorboard(logger: Any, name: str, picture: Path, step: int) -> None:
    """Among the images; written at once."""
    with Image.open(picture) as image:
        logger.experiment.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")
    logger.experiment.flush()


def wandb(config: WandbConfig, folder: Path, steps: int) -> Logger:
    """Weights & Biases; the key comes from the environment. A run that is continued in its folder keeps its W&B run."""
    from pytorch_lightning.loggers import WandbLogger

    return WandbLogger(
        project=config.project, save_dir=folder, offline=config.offline, id=wandb_id(folder), resume="allow"
    )


def wandb_id(folder: Path) -> str:
    """The id of the W&B run of `folder`: chosen by the first process when the run begins, and kept in the folder."""
    from wandb.util import generate_id

    path = folder / WANDB_ID
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    chosen = generate_id()
    if first_process():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"{chosen}\n")
    return chosen


def show_in_wandb(logger: Any, name: str, picture: Path, step: int) -> None:
    """Among the media."""
    logger.log_image(name, [str(picture)], step)


def close_wandb(failed: bool) -> None:
    """Ends the run; the package keeps one open per process, and the next job of a sweep would be written into it."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish(exit_code=int(failed))


KINDS = {
    "tensorboard": Kind(tensorboard, show_in_tensorboard, lambda failed: None),
    "wandb": Kind(wandb, show_in_wandb, close_wandb),
}
