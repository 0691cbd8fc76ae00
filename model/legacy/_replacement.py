"""The command line that replaces an old one, while it is being made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from model.config.old_flags import boolean
from model.legacy._old_scripts import Script
from model.report.commands import COMMAND

# The order of a command's overrides: whole settings, then the groups, the choice of a group before its keys.
GROUPS = ("experiment", "model", "data", "loss", "backbone", "optimizer", "schedule", "monitor", "trainer")


@dataclass
class Command:
    """Overrides of train.py, and what there is to know about them."""

    script: Script
    given: Mapping[str, str]
    """The old flags, as typed."""
    overrides: dict[str, str]
    notes: list[str] = field(default_factory=list)
    useless: list[str] = field(default_factory=list)
    """The given flags that mean nothing today."""

    @property
    def stable(self) -> bool:
        """Whether the loss was one of the stable ones."""
        return self.script.stable and boolean(self.given.get("use_stable_loss", "True"))

    def line(self) -> str:
        """As typed into a shell."""
        place = {group: number for number, group in enumerate(GROUPS)}
        ordered = sorted(self.overrides, key=lambda key: (place.get(key.partition(".")[0], len(place)), "." in key))
        return shlex.join([*COMMAND, *(f"{key}={self.overrides[key]}" for key in ordered)])

    def value(self, key: str) -> str | None:
        """What a key will be: by the overrides, by the script's settings, or by today's defaults."""
        return self.overrides.get(key, self.script.settings.get(key, self.script.defaults.get(key)))

    def take_back(self, key: str, value: str, reason: str) -> None:
        """Leaves an override out unless it says `value`, the only one that is not refused."""
        if self.overrides.get(key, value) != value:
            self.notes.append(f"{key}={self.overrides.pop(key)} is refused today: {reason}")

    def means_nothing(self, name: str, reason: str) -> None:
        """Notes that a given flag is left out."""
        self.useless.append(name)
        self.notes.append(f"{name}={self.given[name]} means nothing {reason}")
