"""Ranges of conf/trainer. What only Lightning knows, as which accelerators this machine has, is left to
`session.check_trainer_arguments`.
"""

from __future__ import annotations

import os
import re

from model.config.schema import TrainerConfig
from model.errors import ConfigError, at_least, one_of, require

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true")
MATMUL_PRECISIONS = ("highest", "high", "medium")
CLIP_ALGORITHMS = ("norm", "value")
PROFILERS = ("simple", "advanced", "pytorch")
MAX_TIME = r"\d+:\d{1,2}:\d{1,2}:\d{1,2}"
# Each is set by something that starts the processes of further machines.
CLUSTERS = ("MASTER_ADDR", "SLURM_NTASKS", "TORCHELASTIC_RUN_ID", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE")
# Key -> the least that it may be; null is allowed where it is the default.
LEAST = {
    "num_nodes": 1,
    "max_steps": -1,
    "max_epochs": -1,
    "min_steps": 0,
    "min_epochs": 0,
    "num_sanity_val_steps": -1,
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 1,
    "accumulate_grad_batches": 1,
    "gradient_clip_val": 0,
    "checkpoint_every_n_steps": 1,
    "early_stopping_patience": 0,
}
CHOICES = {
    "precision": PRECISIONS,
    "matmul_precision": MATMUL_PRECISIONS,
    "gradient_clip_algorithm": CLIP_ALGORITHMS,
    "profiler": PROFILERS,
}


def check_trainer(trainer: TrainerConfig, trains: bool) -> None:
    """Raises ConfigError for the first value that is out of range. trains: whether the run trains, and so needs
    steps.
    """
    for key, least in LEAST.items():
        if getattr(trainer, key) is not None:
            at_least(f"trainer.{key}", getattr(trainer, key), least)
    for key, allowed in CHOICES.items():
        if getattr(trainer, key) is not None:
            one_of(f"trainer.{key}", getattr(trainer, key), allowed)
    for key, none in (
        ("limit_train_batches", not trains),
        ("limit_val_batches", True),
        ("limit_test_batches", True),
        ("val_check_interval", False),
    ):
        check_batches(f"trainer.{key}", getattr(trainer, key), none=none)
    check_devices(trainer.devices)
    check_end(trainer, trains)
    value = trainer.fast_dev_run
    require(
        isinstance(value, int) and value >= 0,
        "trainer.fast_dev_run",
        value,
        "is no number of batches",
        "true, false, or 1 or more",
    )
    require(
        trainer.deterministic in (True, False, "warn"),
        "trainer.deterministic",
        trainer.deterministic,
        "is not known",
        "true, false, warn",
    )
    if trainer.check_val_every_n_epoch is None:
        interval, allowed = (
            trainer.val_check_interval,
            "a number of batches, as trainer.check_val_every_n_epoch=null counts no epochs",
        )
        require(isinstance(interval, int), "trainer.val_check_interval", interval, "is a share of an epoch", allowed)
    if trainer.num_nodes > 1 and not any(name in os.environ for name in CLUSTERS):
        problem = f"trainer.num_nodes={trainer.num_nodes} would wait for machines that nothing starts"
        raise ConfigError(f"{problem}; allowed: 1, or a launcher that sets one of {', '.join(CLUSTERS)}")


def check_batches(key: str, value: object, *, none: bool) -> None:
    """A share of an epoch, a float up to 1, or a number of batches. none: whether it may be 0."""
    share = isinstance(value, float) and 0 <= value <= 1
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    least = "0" if none else "above 0"
    require(
        (share or number) and (none or value != 0),
        key,
        value,
        "is no number of batches",
        f"a share, {least} to 1.0, or a whole number, {least}",
    )


def check_devices(value: object) -> None:
    """How many, which ones, or what Lightning finds."""
    several = isinstance(value, list) and len(value) == len(set(map(str, value))) > 0
    listed = several and all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in value)
    counted = isinstance(value, int) and not isinstance(value, bool) and (value >= 1 or value == -1)
    allowed = "1 or more, -1 (all), auto, or a list of different numbers"
    require(listed or counted or value == "auto", "trainer.devices", value, "names no devices", allowed)


def check_end(trainer: TrainerConfig, trains: bool) -> None:
    """A run must come to an end, and one that trains must take a step before it."""
    if trainer.max_time is not None:
        known = re.fullmatch(MAX_TIME, trainer.max_time) is not None
        require(known, "trainer.max_time", trainer.max_time, "is no time", "days:hours:minutes:seconds, as 00:12:00:00")
        some = any(int(part) for part in trainer.max_time.split(":"))
        require(
            some or not trains,
            "trainer.max_time",
            trainer.max_time,
            "leaves no time to train",
            "1 second or more, or train=false",
        )
    if trainer.max_steps == -1 and trainer.max_epochs in (None, -1) and trainer.max_time is None:
        raise ConfigError(
            f"trainer.max_epochs={trainer.max_epochs} never ends; allowed: a number, or trainer.max_steps or "
            f"trainer.max_time"
        )
    for key in ("max_steps", "max_epochs"):
        value = getattr(trainer, key)
        require(
            value != 0 or not trains,
            f"trainer.{key}",
            value,
            "trains nothing",
            "1 or more, or train=false to evaluate a checkpoint",
        )
