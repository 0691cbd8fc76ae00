"""Processes of tests that end hard: copies of the test's own process, as a new one spends ten seconds on imports."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def start(task: Callable[[], object], output: Path, environment: Mapping[str, str] | None = None) -> int:
    """Runs `task` in a copy of this process, whose output goes to the file `output`; returns the copy's process number.

    The copy ends with the code of SystemExit where `task` raises that, with 1 after another error, and with 0
    otherwise.
    """
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
    """Waits for a process; returns its exit code, or minus the number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def together(task: Callable[[], object], folder: Path, count: int = 2, code: int = 0) -> None:
    """Runs `task` in `count` copies of this process that train together over gloo, each with the variables that
    Lightning would set. Raises AssertionError, with what they wrote, unless all end with `code`.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "NODE_RANK": "0",
        "CUDA_VISIBLE_DEVICES": "",
    }
    said = [folder / f"said_{rank}" for rank in range(count)]
    running = [start(task, said[rank], shared | {"LOCAL_RANK": str(rank)}) for rank in range(count)]
    codes = [ended(process) for process in running]
    assert codes == [code] * count, "\n".join(path.read_text() for path in said)


def train_until(when: Callable[[Any], bool], output: Path, *arguments: str) -> int:
    """Runs `python train.py <arguments>` in a copy of this process and returns its exit code. The copy kills itself
    right before the first optimizer step for which `when(module)` is true.
    """
    from model.command import command_line
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
