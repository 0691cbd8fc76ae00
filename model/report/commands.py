"""Command lines to paste: of one run, of a whole sweep. Hydra keeps what was typed; here it becomes a line for the
shell again.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from model.config.compose import PROGRAM
from model.report.run_files import Run, read_config_options, read_overrides

SWEEP_FILE = "multirun.yaml"
# Of what Hydra itself was told, one run needs the folders of own configuration files; launcher, sweeper and the sweep's
# folder are no part of it.
SEARCH_PATH = "hydra.searchpath"
# These name a checkpoint in the run's own folder, so that a command with one of them needs that folder too.
OWN_CHECKPOINTS = ("ckpt_path=last", "ckpt_path=best")
RUN_FOLDER = "hydra.run.dir"
SWEEP_FOLDER = "hydra.sweep.dir"
# Said by `-m` and by the folder that the comparison stands in.
SAID_OTHERWISE = ("hydra.mode", SWEEP_FOLDER)
# What Hydra reads in a value without quotes.
PLAIN = re.compile(r"[\w./:+-]+", flags=re.ASCII)


def run_command(run: Run) -> str:
    """The line that makes the run, alone where it was a sweep's job; empty where its configuration was not kept."""
    if not (run.overrides or run.config):
        return ""
    needed = (
        (SEARCH_PATH, RUN_FOLDER) if any(argument in OWN_CHECKPOINTS for argument in run.overrides) else (SEARCH_PATH,)
    )
    return shlex.join(
        [
            *PROGRAM,
            *run.config_options,
            *run.overrides,
            *(argument for argument in run.hydra_overrides if key_of(argument) in needed),
        ]
    )


def sweep_command(folder: Path) -> str:
    """The line that makes, or goes on with, the sweep in `folder`: the last that was typed. Empty where it was not
    kept.
    """
    task, hydra = (read_overrides(folder / SWEEP_FILE, part) for part in ("task", "hydra"))
    if not (task or hydra):
        return ""
    own = [argument for argument in hydra if key_of(argument) not in SAID_OTHERWISE]
    return shlex.join(
        [
            *PROGRAM,
            "-m",
            *read_config_options(folder / SWEEP_FILE),
            *task,
            *own,
            f"{SWEEP_FOLDER}={as_value(from_here(folder))}",
        ]
    )


def key_of(argument: str) -> str:
    """What an override sets."""
    return argument.lstrip("+~").partition("=")[0]


def from_here(folder: Path) -> str:
    """The folder as one types it here: relative where it lies below the working directory."""
    whole, here = folder.resolve(), Path.cwd().resolve()
    return os.path.relpath(whole, here) if whole.is_relative_to(here) else str(whole)


def as_value(text: str) -> str:
    """A text as the value of an override: in quotes where Hydra could take signs in it for its own."""
    if PLAIN.fullmatch(text):
        return text
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'
