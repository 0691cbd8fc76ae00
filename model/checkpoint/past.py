"""Reads from a checkpoint what is known about its run, and checks which changed settings take effect in a
resumed run.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from model.checkpoint.files import read_checkpoint
from model.config.changes import change_texts, check_changes
from model.config.decisions import PastRun
from model.config.identity import INTRODUCED
from model.config.nested import value_at
from model.config.schema import RunConfig
from model.launch import first_process

log = logging.getLogger(__name__)


def check_resume(config: RunConfig, start: Path, processes: int) -> PastRun:
    """Returns the run that wrote the checkpoint at `start`, and logs the changed settings that take effect.

    processes: the number of processes of the resumed run. Raises ConfigError for a setting that a resumed run cannot
    change.
    """
    past = read_past_run(start)
    changes = check_changes(config, past, processes)
    if changes and first_process():
        log.info(
            "resuming from step %d with changed settings: %s", past.steps, ", ".join(change_texts(changes, "was "))
        )
    return past


def read_past_run(path: Path) -> PastRun:
    """Reads the checkpoint at `path` without its tensors. Raises ConfigError if this program did not write it."""
    checkpoint = read_checkpoint(path, mapped=True)
    callbacks = checkpoint["callbacks"]
    run: dict[str, Any] = next((state for state in callbacks.values() if "config_hash" in state), {})
    return PastRun(
        config=run.get("config"),
        steps=checkpoint.get("global_step", 0),
        epochs=value_at(checkpoint, ("loops", "fit_loop", "epoch_progress", "current", "started"), 0),
        seconds=value_at(callbacks, ("Timer", "time_elapsed", "train"), 0.0),
        processes=len(checkpoint.get("random_states", [])) or 1,
        best=run.get("best"),
        best_metric=run.get("best_metric", (run.get("config") or {}).get("objective", INTRODUCED["objective"])),
    )
