"""Signals that stop a run. A signal raises an exception immediately, or, during training, is kept until a checkpoint
can be written. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
# The same signal again within this number of seconds counts as one signal: a terminal, `timeout` and `torchrun` send it
# both to the whole group and to the process.
SAME_SIGNAL = 1.0


class Interrupted(BaseException):
    """A signal asked the process to stop. Like KeyboardInterrupt, it is not caught by `except Exception`."""

    def __init__(self, number: int, text: str = "") -> None:
        """number: of the signal; text: two lines for the user, where the files are and how to continue, once known."""
        super().__init__(number, text)
        self.number, self.text = number, text

    @property
    def exit_code(self) -> int:
        """Returns 128 + the number of the signal, as shells do."""
        return 128 + self.number

    @property
    def reason(self) -> str:
        """Returns the reason for summary.json."""
        return f"interrupted by {signal.Signals(self.number).name}"


class ReceivedSignal:
    """The signal that this process has received, if any. The module has one object, `received`, because signal handlers
    belong to the process.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.waits = False
        """Whether a signal waits for `raise_if_received`. Otherwise the handler raises Interrupted immediately."""
        self.pass_on: Callable[[int], None] = lambda number: None
        """Sends a signal to other processes of the run."""
        self.listens = False
        """Whether the handlers are installed."""
        self.is_worker = False
        """Whether this process is a worker of a DataLoader. A forked process is also recognised by its process
        number.
        """
        self._at = 0.0
        self._process = os.getpid()

    def clear(self) -> None:
        """Forgets the signal, and the processes to which signals are passed on."""
        self.number, self.waits, self._process = None, False, os.getpid()
        self.pass_on = lambda number: None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handles every signal of SIGNALS."""
        if self.is_worker or os.getpid() != self._process:
            self._handle_as_worker(number)
            return
        now = time.monotonic()
        if self.number is None:
            self.number, self._at = number, now
            self.pass_on(number)
            if not self.waits:
                raise Interrupted(number)
        elif number == signal.SIGINT and now - self._at > SAME_SIGNAL:
            self.pass_on(signal.SIGKILL)
            os._exit(128 + number)

    def raise_if_received(self) -> None:
        """Raises Interrupted if a signal was received: one that waits, or one whose exception other code has caught."""
        if self.number is not None:
            raise Interrupted(self.number)

    def _handle_as_worker(self, number: int) -> None:
        """Ignores the first SIGTERM, because the whole process group may have received it; the parent sends another one
        to end its workers.
        """
        if number == signal.SIGTERM and self.number == number:
            os._exit(128 + number)
        self.number = number


received = ReceivedSignal()


def is_default(number: int) -> bool:
    """Returns whether the signal has its default handler. `nohup` and shells ignore some signals, and a launcher may
    have installed its own handler.
    """
    return signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


def listen() -> dict[int, Any]:
    """Installs the handlers of SIGNALS and returns the previous ones. Call it in the main thread."""
    received.clear()
    received.listens = True
    return {number: signal.signal(number, received.handle) for number in SIGNALS if is_default(number)}


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Installs the handlers within the block. Does nothing outside the main thread, or if they are installed."""
    if threading.current_thread() is not threading.main_thread() or received.listens:
        yield
        return
    before = listen()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        received.clear()
        received.listens = False


@contextlib.contextmanager
def exit_when_interrupted() -> Iterator[None]:
    """Installs the handlers within the block; Interrupted ends the process with the exit code of the signal."""
    with listening():
        try:
            yield
        except Interrupted as interrupted:
            sys.exit(interrupted.exit_code)


def leave_to_parent(worker: int) -> None:
    """Prepares a worker of a DataLoader: it ignores a signal that the whole process group receives; its parent ends it.

    worker: the number of the worker, which a DataLoader passes; not used.
    """
    received.clear()
    received.is_worker = True
    for number in SIGNALS:
        if is_default(number) or signal.getsignal(number) == received.handle:
            signal.signal(number, received.handle)
