"""Signals that end a run in order. A signal either ends what the process does at once, or waits until training can be left. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
# The same signal within so many seconds is one signal: a terminal, `timeout` and `torchrun` each send it to the whole group and to the process.
SAME_SIGNAL = 1.0


class Interrupted(BaseException):
    """The process was asked to end. Like KeyboardInterrupt, it passes every `except Exception`."""

    def __init__(self, number: int, text: str = "") -> None:
        """number: of the signal; text: two lines for the user, once it is known where the files are and how to go on."""
        super().__init__(number, text)
        self.number, self.text = number, text

    @property
    def exit_code(self) -> int:
        """What shells report for a process that a signal ended."""
        return 128 + self.number

    @property
    def reason(self) -> str:
        """In words, for summaries."""
        return f"interrupted by {signal.Signals(self.number).name}"


class ReceivedSignal:
    """The signal that this process has received, if any. There is one object, `received`, as handlers of signals belong to the process."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.waits = False
        """Whether a signal waits for `raise_if_received`. Otherwise the handler raises Interrupted wherever the process is."""
        self.pass_on: Callable[[int], None] = lambda number: None
        """Sends a signal to the other processes of the run that this one knows."""
        self.listens = False
        """Whether the handlers are installed."""
        self.is_worker = False
        """Whether this process is a DataLoader's worker. One that is forked is, from its first moment, as `handle` is the parent's."""
        self._at = 0.0
        self._process = os.getpid()

    def clear(self) -> None:
        """Nothing has been received."""
        self.number, self.waits, self._process = None, False, os.getpid()
        self.pass_on = lambda number: None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of every signal of SIGNALS."""
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
        """Raises Interrupted where a signal has waited, or where the exception that its handler raised was lost."""
        if self.number is not None:
            raise Interrupted(self.number)

    def _handle_as_worker(self, number: int) -> None:
        """The first SIGTERM may be one that the whole group has got. The parent repeats its own where the worker does not end."""
        if number == signal.SIGTERM and self.number == number:
            os._exit(128 + number)
        self.number = number


received = ReceivedSignal()


def is_default(number: int) -> bool:
    """Whether nobody has decided what the signal does: `nohup` and shells ignore some, a launcher may have a handler of its own."""
    return signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


def listen() -> dict[int, Any]:
    """Handles SIGNALS as this module says, from now on; returns the handlers before. For the main thread."""
    received.clear()
    received.listens = True
    return {number: signal.signal(number, received.handle) for number in SIGNALS if is_default(number)}


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """`listen`, and the handlers of before at the end. Does nothing where the handlers are installed already, and outside the main thread."""
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


def leave_to_parent(worker: int) -> None:
    """For the start of a DataLoader's worker: a signal that the whole group gets ends the parent in order, and the parent ends the worker."""
    received.clear()
    received.is_worker = True
    for number in SIGNALS:
        if is_default(number) or signal.getsignal(number) == received.handle:
            signal.signal(number, received.handle)
