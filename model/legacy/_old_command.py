"""An old script's flags -> the command line of train.py that replaces it."""

from __future__ import annotations

from collections.abc import Mapping

from model.config.old_flags import ALL_FLAGS
from model.errors import ConfigError
from model.legacy._old_choices import CHOICES
from model.legacy._old_scripts import OLD_DEFAULTS, Script
from model.legacy._replacement import Command
from model.legacy._what_fits import FITS
from model.report.commands import as_value

COCO = "<COCO folder>"


def new_command(script: Script, given: Mapping[str, str]) -> Command:
    """The command that replaces `script` with the flags `given`. Raises ConfigError for a value that a flag did not
    take.
    """
    command = Command(script, given, start(script, given))
    for name, typed in given.items():
        add_flag(command, name, typed)
    add_defaults(command)
    for step in (*CHOICES, *FITS):
        step(command)
    return command


def start(script: Script, given: Mapping[str, str]) -> dict[str, str]:
    """The overrides with the script's settings: its experiment, or single keys where the experiment does not fit."""
    fits = (
        script.experiment and given.get("precision") != "8"
    )  # the experiments set optimizer.eps, which optimizer=lion does not have
    return (
        ({"experiment": script.experiment} if fits else dict(script.settings)) | dict(script.own) | {"data.root": COCO}
    )


def add_flag(command: Command, name: str, typed: str) -> None:
    """Translates one given flag by itself. Raises ConfigError for a value that the flag did not take."""
    flag = ALL_FLAGS[name]
    try:
        today = flag.translate(typed)
    except ValueError:
        raise ConfigError(f"{name}={typed} is not a value of this flag; allowed: {flag.allowed}") from None
    reason = flag.why_none or command.script.unread.get(name)
    if reason:
        command.means_nothing(name, f"now: {reason}")
    else:
        command.overrides |= {key: as_value(value) if key == "data.root" else value for key, value in today.items()}


def add_defaults(command: Command) -> None:
    """Adds the old defaults that differ from today's, for flags that were not given."""
    # Flag -> whether another flag decided it.
    decided = {
        "logitsversion": command.stable,
        "batch_size": "train_batch_size" in command.given,
        "normlogits": "logitsversion" in command.given,
    }
    missing = [
        name
        for name in OLD_DEFAULTS
        if not (name in command.given or name in command.script.unread or decided.get(name))
    ]
    told = {}
    for name in missing:
        today = ALL_FLAGS[name].translate(OLD_DEFAULTS[name])
        if any(command.value(key) != value for key, value in today.items()):
            told[name] = today
    for today in told.values():
        command.overrides |= today
    if told:
        command.notes.append(
            f"old defaults that differ from today's: {', '.join(f'{name}={OLD_DEFAULTS[name]}' for name in told)}"
        )
