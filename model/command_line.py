"""The state of the command that this process runs: its arguments, its folders and its errors. No heavy packages."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from model.errors import RunFailed

# The variable with which Hydra raises its errors instead of printing them.
FULL_ERROR = "HYDRA_FULL_ERROR"


class CommandLine:
    """One `python train.py …`. `active` makes all its changes of the process, and restores them."""

    def __init__(self, argv: Sequence[str]) -> None:
        """argv: the name of the program, then the arguments."""
        self.argv = list(argv)
        self.run_folder: Path | None = None
        """The folder of the single run, once Hydra has resolved it."""
        self.sweep_folder: Path | None = None
        """The folder of the sweep, once Hydra has resolved it."""
        self.job_began = False
        """Whether Hydra has called the job, or the first job of a sweep."""
        self.error: Exception | None = None
        """The error of a single run: a mistake in its configuration, or the reason of its failure."""
        self.comparison_failure: RunFailed | None = None
        """Why a sweep has no comparison, where the file system is the reason."""
        self.wants_tracebacks = os.environ.get(FULL_ERROR) == "1"
        """Whether the user has asked for Hydra's full errors."""

    @property
    def arguments(self) -> list[str]:
        """The arguments without the name of the program."""
        return self.argv[1:]

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Makes this the active command within the block: see `active_command`.

        Hydra and Lightning read `sys.argv`: Hydra the overrides, Lightning the command of the further processes that it
        starts. So it is `argv` within the block, and arguments that are added to `argv` reach both. Hydra's errors are
        raised, so that this program can print them in two lines, and logging on a full disk prints no tracebacks.
        """
        argv, raises, full_error = sys.argv, logging.raiseExceptions, os.environ.get(FULL_ERROR)
        token = _active.set(self)
        sys.argv, logging.raiseExceptions, os.environ[FULL_ERROR] = self.argv, False, "1"
        try:
            yield
        finally:
            sys.argv, logging.raiseExceptions = argv, raises
            _active.reset(token)
            if full_error is None:
                del os.environ[FULL_ERROR]
            else:
                os.environ[FULL_ERROR] = full_error


# Hydra calls the job, and builds the callback of conf/train.yaml, without arguments of this program. Both find the
# command through this variable. It is None in a process that a launcher has started for the jobs of a sweep.
_active: ContextVar[CommandLine | None] = ContextVar("active_command", default=None)


def active_command() -> CommandLine | None:
    """Returns the command of this process; None in a worker process of a sweep."""
    return _active.get()
