"""Processes of tests that end hard: copies of the test's own process, as a new one spends ten seconds on imports."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def start(task: Callable[[], object], output: Path, environment: Mapping[str, str] | None = None) -> int:
    """Runs `task` in a copy of this process, which writes to `output` -> its number. It ends with the code of SystemExit, else 0, or 1 after an
    error."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, of which the copy uses none
        process = os.fork()
    if process == 0:
        code = 1
        try:
            os.environ.update(environment or {})
            sys.stdout = sys.stderr = open(output, "w")  # noqa: SIM115 - open until the process ends
            os.dup2(sys.stdout.fileno(), 1)
            os.dup2(sys.stdout.fileno(), 2)
            task()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return process


def ended(process: int) -> int:
    """Waits for it -> its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def train_until(when: Callable[[Any], bool], output: Path, *arguments: str) -> int:
    """`python train.py <arguments>` in a copy of this process, which kills itself right before the optimizer step for whose module `when` is
    true -> its exit code."""
    from model.config.cli import command_line
    from model.module import NWayClip

    step = NWayClip.optimizer_step

    def fatal(module: NWayClip, *rest: object, **keywords: object) -> object:
        if when(module):
            os.kill(os.getpid(), signal.SIGKILL)
        return step(module, *rest, **keywords)

    def task() -> None:
        NWayClip.optimizer_step = fatal
        sys.argv = ["train.py", *arguments]
        sys.exit(command_line())

    return ended(start(task, output))
