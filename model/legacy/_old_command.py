"""An old script's flags -> the command line of train.py that replaces it."""

from __future__ import annotations

from collections.abc import Mapping

from model.config.old_flags import ALL_FLAGS
from model.errors import ConfigError
from model.legacy._accepted_combinations import FITS
from model.legacy._dependent_flags import CHOICES
from model.legacy._old_scripts import OLD_DEFAULTS, Script
from model.legacy._replacement import Command
from model.report.commands import as_value

COCO = "<COCO folder>"


def new_command(script: Script, flags: Mapping[str, str]) -> Command:
    """Returns the command that replaces `script` with old flags and their values. Raises ConfigError for a value that a
    flag did not take.
    """
    command = Command(script, flags, script_settings(script, flags))
    for name, value in flags.items():
        add_flag(command, name, value)
    add_defaults(command)
    for step in (*CHOICES, *FITS):
        step(command)
    return command


def script_settings(script: Script, flags: Mapping[str, str]) -> dict[str, str]:
    """Returns overrides with the script's settings: its experiment, or single keys if the experiment does not fit."""
    # The experiments set optimizer.eps, which optimizer=lion does not have.
    fits = script.experiment and flags.get("precision") != "8"
    settings = {"experiment": script.experiment} if fits else dict(script.settings)
    return settings | dict(script.own) | {"data.root": COCO}


def add_flag(command: Command, name: str, value: str) -> None:
    """Translates one old flag alone. Raises ConfigError for a value that the flag did not take."""
    flag = ALL_FLAGS[name]
    try:
        today = flag.translate(value)
    except ValueError:
        raise ConfigError(f"{name}={value} is not a value of this flag; allowed: {flag.allowed}") from None
    reason = flag.why_none or command.script.unread.get(name)
    if reason:
        command.means_nothing(name, f"now: {reason}")
    else:
        command.overrides |= {key: as_value(new) if key == "data.root" else new for key, new in today.items()}


def add_defaults(command: Command) -> None:
    """Adds the old defaults that differ from today's, for flags that the old command does not have."""
    # Flag -> whether another flag took its place.
    replaced = {
        "logitsversion": command.stable,
        "batch_size": "train_batch_size" in command.old_flags,
        "normlogits": "logitsversion" in command.old_flags,
    }
    missing = [
        name
        for name in OLD_DEFAULTS
        if not (name in command.old_flags or name in command.script.unread or replaced.get(name))
    ]
    different = {}
    for name in missing:
        today = ALL_FLAGS[name].translate(OLD_DEFAULTS[name])
        if any(command.value(key) != value for key, value in today.items()):
            different[name] = today
    for today in different.values():
        command.overrides |= today
    if different:
        defaults = ", ".join(f"{name}={OLD_DEFAULTS[name]}" for name in different)
        command.notes.append(f"old defaults that differ from today's: {defaults}")
