"""Builds the command line of a run or a sweep from the overrides that Hydra stores, quoted for the shell."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from model.report.run_files import Run, read_config_options, read_overrides

COMMAND = ("python", "train.py")
SWEEP_FILE = "multirun.yaml"
# The override of Hydra that a single run needs: it names folders of further configuration files. Launcher, sweeper and
# the sweep's folder concern the sweep only.
SEARCH_PATH = "hydra.searchpath"
# These overrides name a checkpoint in the run's own folder, so a command with one of them needs the folder too.
OWN_CHECKPOINTS = ("ckpt_path=last", "ckpt_path=best")
RUN_FOLDER = "hydra.run.dir"
SWEEP_FOLDER = "hydra.sweep.dir"
# Overrides that the command of a sweep does not repeat: `-m` and the present folder replace them.
REPLACED_OVERRIDES = ("hydra.mode", SWEEP_FOLDER)
# A value that Hydra reads without quotes.
PLAIN = re.compile(r"[\w./:+-]+", flags=re.ASCII)


def run_command(run: Run) -> str:
    """Returns the command of the run; for a job of a sweep, the command that runs this job alone. Empty if the
    configuration is missing.
    """
    if not (run.overrides or run.config):
        return ""
    needed = (
        (SEARCH_PATH, RUN_FOLDER) if any(argument in OWN_CHECKPOINTS for argument in run.overrides) else (SEARCH_PATH,)
    )
    return shlex.join(
        [
            *COMMAND,
            *run.config_options,
            *run.overrides,
            *(argument for argument in run.hydra_overrides if key_of(argument) in needed),
        ]
    )


def sweep_command(folder: Path) -> str:
    """Returns the last command of the sweep in `folder`, which also continues the sweep; empty if it is not known."""
    task, hydra = (read_overrides(folder / SWEEP_FILE, part) for part in ("task", "hydra"))
    if not (task or hydra):
        return ""
    own = [argument for argument in hydra if key_of(argument) not in REPLACED_OVERRIDES]
    return shlex.join(
        [
            *COMMAND,
            "-m",
            *read_config_options(folder / SWEEP_FILE),
            *task,
            *own,
            f"{SWEEP_FOLDER}={as_value(from_here(folder))}",
        ]
    )


def key_of(argument: str) -> str:
    """Returns the key of an override."""
    return argument.lstrip("+~").partition("=")[0]


def from_here(folder: Path) -> str:
    """Returns the folder as a user types it: relative to the working directory if it is inside it."""
    absolute, here = folder.resolve(), Path.cwd().resolve()
    return os.path.relpath(absolute, here) if absolute.is_relative_to(here) else str(absolute)


def as_value(text: str) -> str:
    """Returns a text as the value of an override, with quotes if it has characters that are special for Hydra."""
    if PLAIN.fullmatch(text):
        return text
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'
