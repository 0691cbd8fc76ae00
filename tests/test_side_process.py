"""The second process of a run: its results are those of this process, and this process stands in where it fails."""

from __future__ import annotations

import json
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.side_process import SideProcess, outcome


@pytest.fixture
def side():
    with SideProcess([]) as process:
        yield process


def process_number(process: SideProcess) -> int:
    """Returns the number of the second process."""
    assert process._process is not None
    return process._process.pid


def begun(process: SideProcess, function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Starts a call, and waits until the second process has it."""
    result = process.start(function, *arguments)
    process.begin()
    while process._waiting:
        time.sleep(0.001)
    time.sleep(0.01)
    return result


def warn_of(text: str) -> str:
    """Warns, as drawing a picture may."""
    warnings.warn(text, RuntimeWarning, stacklevel=2)
    return text


def double_where(marker: Path, number: int) -> int:
    """Fails in another process than this one, which has made `marker` hold its number."""
    if int(marker.read_text()) != os.getpid():
        raise ValueError("only in the first process")
    return 2 * number


def note(folder: Path, text: str) -> str:
    """Writes the number of the process into a file with the name `text`."""
    (folder / text).write_text(f"{os.getpid()}")
    time.sleep(0.01)
    return text


def interrupt_once(marker: Path) -> str:
    """Is interrupted at the first call."""
    if not marker.exists():
        marker.touch()
        raise KeyboardInterrupt
    return "complete"


def append(file: Path, text: str) -> None:
    """Adds a line to the file."""
    with file.open("a") as opened:
        opened.write(f"{text}\n")


def test_a_call_runs_in_the_other_process(side):
    assert begun(side, os.getpid)() == process_number(side) != os.getpid()


def test_no_call_begins_before_begin(side):
    result = side.start(os.getpid)
    time.sleep(0.05)
    assert result() == os.getpid()


def test_a_call_that_has_not_begun_is_made_here(side):
    first = begun(side, time.sleep, 0.2)
    assert side.start(os.getpid)() == os.getpid()
    first()
    assert begun(side, os.getpid)() == process_number(side)


def test_large_arguments_and_results_come_back_in_order(side):
    texts = ["a" * 1_000_000, "b" * 1_000_000]
    results = [begun(side, json.dumps, text) for text in texts]
    assert [result() for result in results] == [f'"{text}"' for text in texts]


def test_calls_follow_in_the_order_of_their_starts_except_those_before_others(side, tmp_path):
    file = tmp_path / "order"
    begun(side, time.sleep, 0.2)
    for text, before_others in (("c", False), ("d", False), ("a", True), ("b", True)):
        side.start(append, file, text, before_others=before_others)
    begun(side, append, file, "e")()
    assert file.read_text().split() == ["a", "b", "c", "d", "e"]


def test_a_caller_that_waits_makes_the_last_calls_meanwhile(side, tmp_path):
    slow = begun(side, time.sleep, 0.5)
    calls = [side.start(note, tmp_path, text) for text in "abc"]
    slow()
    here = f"{os.getpid()}"
    assert [(tmp_path / text).read_text() for text in "abc"] == [here] * 3
    assert [call() for call in calls] == ["a", "b", "c"]
    times = [(tmp_path / text).stat().st_mtime_ns for text in "cba"]
    assert times == sorted(times)


def test_a_call_that_was_interrupted_here_is_made_when_its_result_is_asked_for(side, tmp_path):
    slow = begun(side, time.sleep, 0.2)
    interrupted = side.start(interrupt_once, tmp_path / "interrupted")
    with pytest.raises(KeyboardInterrupt):
        slow()
    assert interrupted() == "complete"
    slow()


def test_without_a_process_the_caller_computes_when_the_result_is_asked_for():
    process = SideProcess()
    assert not process.is_running
    assert process.start(os.getpid)() == os.getpid()


def test_a_call_that_fails_there_is_made_here(side, tmp_path):
    marker = tmp_path / "first"
    marker.write_text(str(os.getpid()))
    assert begun(side, double_where, marker, 4)() == 8
    assert begun(side, os.getpid)() == process_number(side)  # the process goes on


def test_the_error_of_a_call_is_that_of_this_process(side):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        begun(side, os.listdir, "no such folder")()


def test_a_warning_is_shown_by_this_process(side):
    result = begun(side, warn_of, "look")
    with pytest.warns(RuntimeWarning, match="look"):
        assert result() == "look"


def test_a_process_that_has_ended_is_replaced_by_this_one(side):
    slow = begun(side, time.sleep, 0.5)
    os.kill(process_number(side), signal.SIGKILL)
    slow()
    assert begun(side, os.getpid)() == os.getpid()
    assert not side.is_running


def test_a_module_that_cannot_be_imported_ends_the_process_only():
    with SideProcess(["no_such_module"]) as process:
        assert begun(process, os.getpid)() == os.getpid()


def test_closing_leaves_no_process():
    with SideProcess([]) as process:
        number = process_number(process)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_the_process_ends_with_its_input(side):
    """As it does when the first process is killed."""
    assert side._process is not None
    assert side._process.stdin is not None
    side._process.stdin.close()
    assert side._process.wait(timeout=20) == 0


def test_what_a_call_prints_is_not_part_of_its_answer(side):
    assert begun(side, print, "hello")() is None
    assert begun(side, os.getpid)() == process_number(side)


def test_deprecations_are_no_failures():
    assert outcome(__name__, "deprecated", ()) == (True, 1)


def deprecated() -> int:
    """Warns as third-party packages do."""
    warnings.warn("old", DeprecationWarning, stacklevel=2)
    return 1
