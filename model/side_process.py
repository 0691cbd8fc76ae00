"""A second process of a run, which computes while the first one does other work. Standard library only.

The process is started with the executable of Python, and not forked, because forking a process that has started threads
is not safe. Objects go to it and come back as pickles through its standard input and output.
"""

from __future__ import annotations

import bisect
import contextlib
import importlib
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")
ROOT = Path(__file__).resolve().parents[1]
# What the process runs. The first argument is the folder of the package `model`, the others are modules.
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from model.side_process import answer_calls; "
    "answer_calls(sys.argv[2:])"
)
# Warnings of these kinds are no failures; Python does not show them either.
UNSHOWN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


class WaitingCall(NamedTuple):
    """A call that has not begun. The smallest one is next."""

    after_others: bool
    number: int
    """Distinguishes the calls and has the order of their starts."""
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    answer: Future[Any]


class SideProcess:
    """Calls functions in a process of its own, in the order of their starts, while the caller goes on. A caller that
    waits for a result makes calls too, the last ones first.

    A result is always that of the function in this process: where the other process does not give a result, for
    whatever reason, the function is called here. That is so after an error, a warning, or the end of the process, and
    without a process.
    """

    def __init__(self, modules: Iterable[str] | None = None) -> None:
        """modules: the names of modules that the process imports at once, before the first call; None for no
        process.
        """
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: list[WaitingCall] = []  # sorted; read and written with the lock of _changed
        self._changed = threading.Condition()
        self._closed = False
        self._numbers = count()
        self._thread: threading.Thread | None = None
        if modules is not None:
            with contextlib.suppress(OSError):  # no memory, or no process left: everything is computed here
                self._process = subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, str(ROOT), *modules],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C in the terminal is for the first process
                )

    def start(
        self, function: Callable[..., Result], *arguments: Any, before_others: bool = False
    ) -> Callable[[], Result]:
        """Adds a call and returns a function that waits for its result. The process makes calls after `begin`.

        function: a function of a module of this project; arguments: what pickle can write; before_others: puts this
        call before all calls that have not begun and were started without this option.
        """
        if self._process is None:
            return lambda: function(*arguments)
        answer: Future[Result] = Future()
        with self._changed:
            call = WaitingCall(not before_others, next(self._numbers), function, arguments, answer)
            bisect.insort(self._waiting, call)
            self._changed.notify()

        def result() -> Result:
            while not answer.done() and (other := self._taken(-1)) is not None:
                with answering(other.answer):
                    other.answer.set_result(other.function(*other.arguments))
            try:
                return answer.result()
            except Exception:
                return function(*arguments)

        return result

    def begin(self) -> None:
        """Lets the process make the calls that were and will be started. Until then, it takes no time of any core."""
        if self._process is not None and self._thread is None:
            self._thread = threading.Thread(target=self._exchange, daemon=True)
            self._thread.start()

    def _taken(self, place: int) -> WaitingCall | None:
        """Removes and returns the waiting call in a place; None if no call waits."""
        with self._changed:
            return self._waiting.pop(place) if self._waiting else None

    def _exchange(self) -> None:
        """Sends the calls, one after the other, and waits for their answers; a thread of its own runs it."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return
            if (call := self._taken(0)) is None:  # the caller was faster
                continue
            with answering(call.answer):
                pickle.dump((call.function.__module__, call.function.__qualname__, call.arguments), process.stdin)
                process.stdin.flush()
                has_worked, result = pickle.load(process.stdout)
                if not has_worked:
                    raise RuntimeError(result)
                call.answer.set_result(result)

    @property
    def is_running(self) -> bool:
        """Returns whether there is a process that answers calls."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Ends the process. Its unfinished calls are made in this process if their results are asked for."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        with self._changed:
            for call in self._waiting:
                call.answer.cancel()
            self._waiting, self._closed = [], True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()  # its call fails at once, because the pipes are broken
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what could not be sent is lost
                assert pipe is not None
                pipe.close()

    def __enter__(self) -> SideProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@contextlib.contextmanager
def answering(answer: Future[Any]) -> Iterator[None]:
    """Gives a call an error as its answer if the block raises one. Raises an interruption again."""
    try:
        yield
    except BaseException as error:
        answer.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
        if not isinstance(error, Exception):
            raise


def several_cores() -> bool:
    """Returns whether this process may use more than one core."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) > 1
    return (os.cpu_count() or 1) > 1


def answer_calls(modules: Iterable[str]) -> None:
    """Imports `modules`, and answers calls until the standard input ends, as it does when the first process ends."""
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a function prints must not be part of an answer
    for module in modules:
        importlib.import_module(module)
    while True:
        try:
            module, name, arguments = pickle.load(calls)
        except EOFError:
            return
        answers.write(pickle.dumps(outcome(module, name, arguments)))
        answers.flush()


def outcome(module: str, name: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """Calls a function; returns True and its result, or False and the reason. A warning that the user would see is a
    failure, so that the first process calls the function and shows the warning.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for kind in UNSHOWN:
                warnings.simplefilter("ignore", kind)
            return True, getattr(importlib.import_module(module), name)(*arguments)
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
