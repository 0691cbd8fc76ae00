"""The classes of the old training scripts. They can be imported, and calling one raises an error with the command line
that replaces the call.
"""

from __future__ import annotations

from typing import Any, NoReturn

from model.errors import ConfigError
from model.legacy._old_command import new_command
from model.legacy._old_command_line import check_flag
from model.legacy._old_scripts import SCRIPTS

# The arguments that the classes also took by position, in their order.
BY_POSITION = ("learning_rate", "logitsversion", "normlogits", "projection", "prune", "exactlabels")


class ReplacedModule:
    """Base class of the old classes."""

    script: str
    """The old module's name."""

    def __init__(self, *arguments: Any, **keywords: Any) -> NoReturn:
        """Raises ConfigError. Its second line is the command line that replaces the call; for an argument that the
        class did not take, the error names the argument instead.
        """
        name = type(self).__name__
        if len(arguments) > len(BY_POSITION):
            raise ConfigError(
                f"{name} has {len(arguments)} arguments by position; allowed: {', '.join(BY_POSITION)}, and the "
                f"others by name"
            )
        by_position = dict(zip(BY_POSITION, arguments, strict=False))
        twice = sorted(by_position.keys() & keywords)
        if twice:
            raise ConfigError(f"{name} has two values for {twice[0]}; allowed: one value, by position or by name")
        script = SCRIPTS[self.script]
        flags = {key: str(value) for key, value in (by_position | keywords).items()}
        for key in flags:
            check_flag(key, script)
        command = new_command(script, flags)
        left_out = f", without {', '.join(command.useless)}" if command.useless else ""
        where = "docs/migration.md and python -m model.legacy list the differences"
        raise ConfigError(
            f"{name} of model.{self.script} is replaced by train.py ({where}); allowed{left_out}:\n{command.line()}"
        )
