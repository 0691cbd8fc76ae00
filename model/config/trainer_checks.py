"""Checks the ranges of conf/trainer. `session.check_trainer_arguments` checks what only Lightning knows, such as the
accelerators of this machine.
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
# Launchers that start processes on further machines set one of these environment variables.
CLUSTER_VARIABLES = ("MASTER_ADDR", "SLURM_NTASKS", "TORCHELASTIC_RUN_ID", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE")
# Key -> its smallest value. null is allowed if it is the default.
SMALLEST = {
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
    for key, least in SMALLEST.items():
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
    check_switches(trainer)
    check_interval_unit(trainer)
    check_nodes(trainer.num_nodes)


def check_switches(trainer: TrainerConfig) -> None:
    """Raises ConfigError for values of fast_dev_run and deterministic that are neither a switch nor a further
    choice.
    """
    value, allowed = trainer.fast_dev_run, "true, false, or 1 or more"
    is_count = isinstance(value, int) and value >= 0
    require(is_count, "trainer.fast_dev_run", value, "is not a number of batches", allowed)
    value, allowed = trainer.deterministic, "true, false, warn"
    require(value in (True, False, "warn"), "trainer.deterministic", value, "is not known", allowed)


def check_interval_unit(trainer: TrainerConfig) -> None:
    """Raises ConfigError if validations are counted in batches and val_check_interval is a share of an epoch."""
    if trainer.check_val_every_n_epoch is None:
        value = trainer.val_check_interval
        allowed = "a number of batches, because trainer.check_val_every_n_epoch=null does not count epochs"
        require(isinstance(value, int), "trainer.val_check_interval", value, "is a share of an epoch", allowed)


def check_nodes(number: int) -> None:
    """Raises ConfigError for several machines if no launcher has started the processes of the others."""
    if number > 1 and not any(name in os.environ for name in CLUSTER_VARIABLES):
        problem = f"trainer.num_nodes={number} would wait for machines that no launcher starts"
        raise ConfigError(f"{problem}; allowed: 1, or a launcher that sets one of {', '.join(CLUSTER_VARIABLES)}")


def check_batches(key: str, value: object, *, none: bool) -> None:
    """Raises ConfigError unless the value is a share of an epoch (a float up to 1) or a number of batches.

    none: whether it may be 0.
    """
    share = isinstance(value, float) and 0 <= value <= 1
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    least = "0" if none else "above 0"
    require(
        (share or number) and (none or value != 0),
        key,
        value,
        "is not a number of batches",
        f"a share, {least} to 1.0, or a whole number, {least}",
    )


def check_devices(value: object) -> None:
    """Raises ConfigError unless the value is a number of devices, a list of their numbers, or `auto`."""
    is_list = isinstance(value, list) and len(value) == len(set(map(str, value))) > 0 and all(map(is_index, value))
    is_count = isinstance(value, int) and not isinstance(value, bool) and (value >= 1 or value == -1)
    allowed = "1 or more, -1 (all), auto, or a list of different numbers"
    require(is_list or is_count or value == "auto", "trainer.devices", value, "does not name devices", allowed)


def is_index(value: object) -> bool:
    """Whether the value is a whole number, 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_end(trainer: TrainerConfig, trains: bool) -> None:
    """Raises ConfigError for a run that never ends, and for a run that trains but ends before its first step."""
    if trainer.max_time is not None:
        known = re.fullmatch(MAX_TIME, trainer.max_time) is not None
        require(
            known, "trainer.max_time", trainer.max_time, "is not a time", "days:hours:minutes:seconds, as 00:12:00:00"
        )
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
            f"trainer.max_epochs={trainer.max_epochs} sets no end; allowed: a number, or set trainer.max_steps or "
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
