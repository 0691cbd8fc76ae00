"""The loggers of conf/logger, which a run has beside metrics.csv: how each is built, what it shows at the end of the
run, how it is closed.
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
    """Returns the loggers beside metrics.csv. steps: optimizer steps before this process, in a continued run.

    Raises ConfigError where a package is missing.
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
    """Logs the metrics of the test split and the pictures of the report (PNG files), and closes the loggers.

    An error becomes a warning, because the run is complete and its files are written. Only an error of the file system
    is raised.
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
    """Closes what the next run of this process would otherwise write into."""
    if config.name in KINDS:
        KINDS[config.name].close(failed)


@dataclass(frozen=True)
class Kind:
    """The functions of one logger."""

    make: Callable[[Any, Path, int], Logger]
    """Builds it from its configuration, the folder of the run, and the optimizer steps before this process."""
    show: Callable[[Any, str, Path, int], None]
    """Shows a picture: logger, name of the picture, PNG file, optimizer step."""
    close: Callable[[bool], None]
    """Closes it; the argument says whether the run failed."""


def tensorboard(config: LoggerConfig, folder: Path, steps: int) -> Logger:
    """Writes event files into the folder of the run. TensorBoard hides the rows of earlier files from the step on at
    which the run continues.
    """
    from pytorch_lightning.loggers import TensorBoardLogger

    purge_step = steps + 1 if steps else None
    return TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False, purge_step=purge_step)


def show_in_tensorboard(logger: Any, name: str, picture: Path, step: int) -> None:
    """Adds the picture to TensorBoard's images, and writes it at once."""
    with Image.open(picture) as image:
        logger.experiment.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")
    logger.experiment.flush()


def wandb(config: WandbConfig, folder: Path, steps: int) -> Logger:
    """Logs to Weights & Biases. The key comes from the environment. A run that is continued in its folder keeps its W&B
    run.
    """
    from pytorch_lightning.loggers import WandbLogger

    return WandbLogger(
        project=config.project, save_dir=folder, offline=config.offline, id=wandb_id(folder), resume="allow"
    )


def wandb_id(folder: Path) -> str:
    """Returns the id of the W&B run of `folder`, which the first process chooses and writes into the folder."""
    from wandb.util import generate_id

    path = folder / WANDB_ID
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    new_id = generate_id()
    if first_process():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"{new_id}\n")
    return new_id


def show_in_wandb(logger: Any, name: str, picture: Path, step: int) -> None:
    """Adds the picture to the media of the W&B run."""
    logger.log_image(name, [str(picture)], step)


def close_wandb(failed: bool) -> None:
    """Ends the W&B run. The package keeps one run open in each process; the next job of a sweep would write to it."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish(exit_code=int(failed))


KINDS = {
    "tensorboard": Kind(tensorboard, show_in_tensorboard, lambda failed: None),
    "wandb": Kind(wandb, show_in_wandb, close_wandb),
}
