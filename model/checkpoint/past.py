"""A run that goes on from a checkpoint: what the checkpoint says about its run, and which of the changed settings take
effect.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from model.checkpoint.files import read_checkpoint
from model.config.changes import check_changes, lines
from model.config.decisions import Past
from model.config.schema import RunConfig
from model.launch import first_process

log = logging.getLogger(__name__)


def going_on(config: RunConfig, start: Path, processes: int) -> Past:
    """What the checkpoint at `start` says; lists the changed settings that take effect. `processes`: that the run has
    now.

    Raises ConfigError for a setting that cannot be changed in a run that goes on.
    """
    past = read_past(start)
    changes = check_changes(config, past, processes)
    if changes and first_process():
        log.info("going on from step %d with changed settings: %s", past.steps, ", ".join(lines(changes, "was ")))
    return past


def read_past(path: Path) -> Past:
    """The checkpoint at `path` without its tensors. Raises ConfigError where it is not one of this program."""
    checkpoint = read_checkpoint(path, mapped=True)
    callbacks = checkpoint["callbacks"]
    run = next((state for state in callbacks.values() if "config_hash" in state), {})
    return Past(
        config=run.get("config"),
        steps=checkpoint.get("global_step", 0),
        epochs=value_at(checkpoint, ("loops", "fit_loop", "epoch_progress", "current", "started"), 0),
        seconds=value_at(callbacks, ("Timer", "time_elapsed", "train"), 0.0),
        processes=len(checkpoint.get("random_states", [])) or 1,
        best=run.get("best"),
    )


def value_at(values: Any, path: tuple[str, ...], default: Any) -> Any:
    """The value in nested dictionaries; `default` where there is none."""
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return default
        values = values[key]
    return values
