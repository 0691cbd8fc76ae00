"""The command line that replaces an old one, and notes on the differences. The steps of a translation change both."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from model.config.compose import PROGRAM
from model.config.old_flags import boolean
from model.legacy._old_scripts import Script

# The order of a command's overrides: the experiment, then group after group, the choice of a group before its keys.
GROUPS = ("experiment", "model", "data", "loss", "backbone", "optimizer", "schedule", "monitor", "trainer")


@dataclass
class Command:
    """Overrides of train.py, and notes on what differs from the old command."""

    script: Script
    old_flags: Mapping[str, str]
    """Old flag -> its value, as typed."""
    overrides: dict[str, str]
    notes: list[str] = field(default_factory=list)
    useless: list[str] = field(default_factory=list)
    """The old flags of this command that have no meaning today."""

    @property
    def stable(self) -> bool:
        """Whether the loss was one of the stable ones."""
        return self.script.stable and boolean(self.old_flags.get("use_stable_loss", "True"))

    def line(self) -> str:
        """Returns the command as a user types it into a shell."""
        position = {group: number for number, group in enumerate(GROUPS)}

        def order(key: str) -> tuple[int, bool]:
            return position.get(key.partition(".")[0], len(position)), "." in key

        return shlex.join([*PROGRAM, *(f"{key}={self.overrides[key]}" for key in sorted(self.overrides, key=order))])

    def value(self, key: str) -> str | None:
        """Returns the value of a key: from the overrides, from the script's settings, or from today's defaults; None if
        none of these has the key.
        """
        return self.overrides.get(key, self.script.settings.get(key, self.script.defaults.get(key)))

    def remove_unless(self, key: str, value: str, reason: str) -> None:
        """Removes the override of `key` unless it is `value`, the only value that is accepted, and notes the reason."""
        if self.overrides.get(key, value) != value:
            self.notes.append(f"{key}={self.overrides.pop(key)} is refused today: {reason}")

    def means_nothing(self, name: str, reason: str) -> None:
        """Notes that an old flag has no meaning, and the reason."""
        self.useless.append(name)
        self.notes.append(f"{name}={self.old_flags[name]} means nothing {reason}")
