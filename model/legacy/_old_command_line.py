"""Reads an old command line: which script it starts, and which flags it gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from model.config.old_flags import ALL_FLAGS
from model.errors import ConfigError
from model.legacy._old_scripts import DEFAULT, SCRIPTS, Script, find_script

SCRIPT = "script"


def read(words: Sequence[str]) -> tuple[Script, dict[str, str]]:
    """Returns the script and the flags of `[python] [<script>] --key value --key=value key=value …`. If a flag occurs
    twice, the last value is used. Raises ConfigError for a script or a flag that is not known, and for a flag without a
    value.
    """
    rest = list(words)
    if rest[:1] in (["python"], ["python3"]):
        del rest[0]
    script = SCRIPTS[DEFAULT]
    if rest and not rest[0].startswith("-") and "=" not in rest[0]:
        script = find_script(rest.pop(0))
    flags: dict[str, str] = {}
    for name, value in flag_values(rest):
        if name == SCRIPT:
            script = find_script(value)
        else:
            flags[name] = value
    for name in flags:
        check_flag(name, script)
    return script, flags


def flag_values(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields each flag and its value, without quotes. Raises ConfigError for a word that is neither, and for a flag
    without a value.
    """
    remaining = iter(words)
    for word in remaining:
        name, equals, value = word.partition("=")
        if not (equals or word.startswith("--")):
            raise ConfigError(f"{word} is neither a flag nor its value; allowed: --key value, --key=value, key=value")
        if not equals:
            value = next(remaining, "")
            if not value or value.startswith("--"):
                raise ConfigError(f"{name} has no value; allowed: {name} <value>, {name}=<value>")
        yield name.removeprefix("--"), value.strip("'\" ")


def check_flag(name: str, script: Script) -> None:
    """Raises ConfigError unless the script took the flag."""
    if name in script.flags:
        return
    if name in ALL_FLAGS:
        others = [other.name for other in SCRIPTS.values() if name in other.flags]
        raise ConfigError(f"{name} is not a flag of {script.name}; allowed: --script {' or '.join(others)}")
    by_lower_case = {flag.lower(): flag for flag in script.flags}
    near = get_close_matches(name.lower().replace("-", "_"), by_lower_case, n=1)
    hint = f"\ndid you mean {by_lower_case[near[0]]}?" if near else ""
    raise ConfigError(f"{name} is not a flag of {script.name}; allowed: {SCRIPT}, {', '.join(script.flags)}{hint}")
