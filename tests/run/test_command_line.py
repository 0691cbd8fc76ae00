"""The command line changes its process only while it runs, and ends the process with its exit code."""

from __future__ import annotations

import logging
import os
import sys

import pytest

from model.command import help_text, main
from model.command_line import CommandLine, active_command


@pytest.mark.parametrize("full_error", [None, "0"])
def test_everything_is_restored_after_an_error(monkeypatch, full_error):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    if full_error is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", full_error)
    argv, command = sys.argv, CommandLine(["train.py", "loss=norms"])

    def fail() -> None:
        with command.active():
            command.argv.append("seed=1")
            inside.extend([active_command(), sys.argv, os.environ["HYDRA_FULL_ERROR"], logging.raiseExceptions])
            raise ValueError("broken")

    inside: list[object] = []
    with pytest.raises(ValueError, match="broken"):
        fail()
    assert inside == [command, ["train.py", "loss=norms", "seed=1"], "1", False]
    assert sys.argv is argv
    assert active_command() is None
    assert (os.environ.get("HYDRA_FULL_ERROR"), logging.raiseExceptions) == (full_error, True)


def test_the_arguments_of_the_caller_are_not_changed():
    typed = ["train.py", "loss=norms"]
    CommandLine(typed).argv.append("seed=1")
    assert typed == ["train.py", "loss=norms"]


@pytest.mark.parametrize(
    ("program", "typed"),
    [
        ("train.py", "  python train.py loss=normsv5 "),
        ("/home/me/clip/train.py", "  python train.py loss=normsv5 "),
        ("/usr/local/bin/nway-clip", "  nway-clip loss=normsv5 "),
    ],
)
def test_the_help_names_the_program_as_it_is_typed(program, typed):
    assert [line for line in help_text(program).splitlines() if line.startswith(typed)] != []


@pytest.mark.parametrize(("arguments", "code"), [(("--help",), 0), (("loss=unknown",), 2)])
def test_main_ends_the_process_with_the_exit_code(monkeypatch, tmp_path, arguments, code):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(sys, "argv", ["nway-clip", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
