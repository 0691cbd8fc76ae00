"""Checks the command line before Hydra reads it: arguments that Hydra would answer with a traceback or a long text, or
would misinterpret.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from model.config.compose import groups, known_keys
from model.config.old_flags import flag_hint
from model.errors import ConfigError, not_known, one_of
from model.launch import first_process
from model.record.folder import refuse_used_folder
from model.slurm import restarted_by_slurm

# Hydra's flags without a value, and Hydra's flags with a value (after `=`, or as the next word).
FLAGS = (
    "-h",
    "--help",
    "--hydra-help",
    "--version",
    "--resolve",
    "-r",
    "--run",
    "-m",
    "--multirun",
    "-sc",
    "--shell-completion",
)
FLAGS_WITH_VALUE = (
    *("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir"),
    *("--experimental-rerun", "-i", "--info"),
)
# Each of these flags chooses what the command does.
MODES = ("--multirun", "-m", "--run", "-r", "--cfg", "-c", "--info", "-i")
CFG_VALUES = ("job", "hydra", "all")
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")
# Values that cannot name a choice: YAML reads them as null, a boolean, a number, a list or a dictionary.
NOT_A_CHOICE = re.compile(r"null|true|false|[-+]?[\d.]+|\[.*|\{.*", flags=re.IGNORECASE)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises ConfigError for the first argument that is invalid."""
    overrides = check_flags(arguments)
    choices = groups()
    for override in overrides:
        check_override(override, choices)
    values = dict(override.split("=", 1) for override in overrides if "=" in override)
    if "hydra.sweep.subdir" in values:
        value = values["hydra.sweep.subdir"]
        raise ConfigError(
            f"hydra.sweep.subdir={value} cannot be set, because a resumed sweep finds its jobs by this name; allowed: "
            f"hydra.sweep.dir=<folder>"
        )
    if "hydra.run.dir" in values and "ckpt_path" not in values and first_process() and not restarted_by_slurm():
        refuse_used_folder(Path(values["hydra.run.dir"]))


def check_flags(arguments: Sequence[str]) -> list[str]:
    """Returns the overrides among the arguments. Raises ConfigError for an unknown flag, a flag without its value, a
    flag between overrides, and flags that contradict each other.
    """
    overrides: list[str] = []
    flag_followed, words = False, list(arguments)
    while words:
        argument = words.pop(0)
        if argument.startswith("-"):
            flag_followed = bool(overrides)
            check_flag(argument, words)
        elif flag_followed:
            raise ConfigError(
                f"{argument} follows a flag that follows other overrides; allowed: flags before all overrides, or "
                f"after all overrides"
            )
        else:
            overrides.append(argument)
    check_modes({argument.partition("=")[0] for argument in arguments})
    return overrides


def check_flag(argument: str, words: list[str]) -> None:
    """Raises ConfigError for an unknown flag, or a flag without its value. Removes the value from `words`, the
    arguments after the flag, if it is the next word.
    """
    flag, _, value = argument.partition("=")
    refuse_key_as_flag(flag, value or next(iter(words), ""))
    one_of("flag", flag, (*FLAGS, *FLAGS_WITH_VALUE))
    if flag in FLAGS_WITH_VALUE:
        if not value and words and not words[0].startswith("-"):
            value = words.pop(0)
        if flag in ("-c", "--cfg"):
            one_of(flag, value, CFG_VALUES)
        if not value and flag not in ("-i", "--info"):
            raise ConfigError(f"{flag} has no value; allowed: {flag} <value>")


def check_modes(flags: set[str]) -> None:
    """Raises ConfigError for flags that contradict each other, and for --resolve without a configuration to show."""
    modes = [mode for mode in MODES if mode in flags]
    if len(modes) > 1:
        raise ConfigError(f"{' '.join(modes)} exclude each other; allowed: one of them")
    if "--resolve" in flags and flags.isdisjoint(("--cfg", "-c", "--help", "-h")):
        raise ConfigError("--resolve needs a configuration to show; allowed: --resolve with --cfg job")


def refuse_key_as_flag(flag: str, value: str) -> None:
    """Raises ConfigError for `--key value` and `--key=value`, where `key` is a key of conf/ or a flag of the old
    scripts.
    """
    key = flag.lstrip("-")
    hint = flag_hint(key, value)
    if hint is None and (key in groups() or key in known_keys()):
        hint = f"did you mean {key}={value}?"
    if hint and flag not in (*FLAGS, *FLAGS_WITH_VALUE):
        flags = ", ".join((*FLAGS, *FLAGS_WITH_VALUE))
        raise ConfigError(f"{flag} {value} is not a flag; allowed: key=value, and the flags {flags}\n{hint}")


def check_override(override: str, choices: dict[str, list[str]]) -> None:
    """Raises ConfigError for an override that cannot be meant.

    Such overrides are `group=_choice` (a file that choices share), a group without a choice, `group.name=…`, an empty
    folder, and a placeholder of the documentation such as <folder>. choices: group -> its choices.
    """
    key, equals, value = override.lstrip("+~").partition("=")
    if not key:
        raise ConfigError(f"{override} names no key; allowed: key=value")
    if key in FOLDERS and equals and not value.strip("'\""):
        raise ConfigError(f"{key}= names no folder; allowed: {key}=<folder>")
    if re.fullmatch(r"<.*>", value):
        raise ConfigError(
            f"{key}={value} is a placeholder; allowed: {key}=<value> with your own value, without < and >"
        )
    group, _, rest = key.partition(".")
    if "." in key and key.replace(".", "/") in choices:
        chosen = key.replace(".", "/")
        raise ConfigError(
            f"{key}={value} sets a group of keys; allowed: {chosen}=<choice>, one of {', '.join(choices[chosen])}"
        )
    if group in choices and rest == "name":
        raise ConfigError(
            f"{key}={value} cannot be set alone, because other keys depend on it; allowed: {group}={value}"
        )
    if key in choices and equals and not override.startswith("~"):
        for choice in [value] if value.startswith(("[", "{")) else value.split(","):
            if choice.startswith("_") or NOT_A_CHOICE.fullmatch(choice):
                raise not_known(key, choice, choices[key])
