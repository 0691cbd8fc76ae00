"""The classes of the old training scripts: they can be imported, and a call of one names the command line that replaces it."""

from __future__ import annotations

from typing import Any, NoReturn

from model.errors import ConfigError
from model.legacy._old_command import new_command
from model.legacy._old_scripts import SCRIPTS
from model.legacy._old_words import check_flag

# The arguments that were also given without their names.
BY_POSITION = ("learning_rate", "logitsversion", "normlogits", "projection", "prune", "exactlabels")


class ReplacedModule:
    """What the old classes have in common."""

    script: str
    """The old module's name."""

    def __init__(self, *arguments: Any, **keywords: Any) -> NoReturn:
        """Raises ConfigError: two lines, the second is the command line that replaces the arguments. One that the class did not take is named
        instead."""
        name = type(self).__name__
        if len(arguments) > len(BY_POSITION):
            raise ConfigError(f"{name} has {len(arguments)} arguments without a name; allowed: {', '.join(BY_POSITION)}, and the others by name")
        by_position = dict(zip(BY_POSITION, arguments, strict=False))
        twice = sorted(by_position.keys() & keywords)
        if twice:
            raise ConfigError(f"{name} has two values for {twice[0]}; allowed: one, with or without its name")
        script = SCRIPTS[self.script]
        given = {key: str(value) for key, value in (by_position | keywords).items()}
        for key in given:
            check_flag(key, script)
        command = new_command(script, given)
        left_out = f", without {', '.join(command.useless)}" if command.useless else ""
        where = "docs/migration.md and python -m model.legacy say what differs"
        raise ConfigError(f"{name} of model.{self.script} is replaced by train.py ({where}); allowed{left_out}:\n{command.line()}")
