"""The command line before Hydra reads it: what Hydra would answer with a traceback or a page, or take for something
else than was meant.
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

# Hydra's flags; those of the second kind have a value, with `=` or as the next word.
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
VALUED = (
    *("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir"),
    *("--experimental-rerun", "-i", "--info"),
)
# Each of these says what is to be done.
MODES = ("--multirun", "-m", "--run", "-r", "--cfg", "-c", "--info", "-i")
SHOWN = ("job", "hydra", "all")
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")
# A group's choice is a word; what YAML reads as something else, or as a list, is none.
NO_CHOICE = re.compile(r"null|true|false|[-+]?[\d.]+|\[.*|\{.*", flags=re.IGNORECASE)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises ConfigError for the first argument that cannot be meant."""
    overrides = check_flags(arguments)
    known = groups()
    for override in overrides:
        check_override(override, known)
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    if "hydra.sweep.subdir" in given:
        value = given["hydra.sweep.subdir"]
        raise ConfigError(
            f"hydra.sweep.subdir={value} cannot be chosen, as jobs are found again by it; allowed: "
            f"hydra.sweep.dir=<folder>"
        )
    if "hydra.run.dir" in given and "ckpt_path" not in given and first_process() and not restarted_by_slurm():
        refuse_used_folder(Path(given["hydra.run.dir"]))


def check_flags(arguments: Sequence[str]) -> list[str]:
    """The overrides among the arguments. Raises ConfigError for a flag that is not known or lacks its value, and for
    one between overrides.
    """
    overrides: list[str] = []
    ended, at = False, 0
    while at < len(arguments):
        argument = arguments[at]
        flag, _, value = argument.partition("=")
        at += 1
        if not argument.startswith("-"):
            if ended:
                raise ConfigError(
                    f"{argument} stands behind a flag that follows other overrides; allowed: flags before all "
                    f"overrides, or after all"
                )
            overrides.append(argument)
            continue
        ended = bool(overrides)
        refuse_key_as_flag(flag, value or next(iter(arguments[at:]), ""))
        one_of("flag", flag, (*FLAGS, *VALUED))
        if flag in VALUED:
            if not value and at < len(arguments) and not arguments[at].startswith("-"):
                value, at = arguments[at], at + 1
            if flag in ("-c", "--cfg"):
                one_of(flag, value, SHOWN)
            if not value and flag not in ("-i", "--info"):
                raise ConfigError(f"{flag} has no value; allowed: {flag} <value>")
    given = {argument.partition("=")[0] for argument in arguments}
    modes = [word for word in MODES if word in given]
    if len(modes) > 1:
        raise ConfigError(f"{' '.join(modes)} say different things to do; allowed: one of them")
    if "--resolve" in given and given.isdisjoint(("--cfg", "-c", "--help", "-h")):
        raise ConfigError("--resolve has nothing to resolve; allowed: --resolve beside --cfg job")
    return overrides


def refuse_key_as_flag(flag: str, value: str) -> None:
    """Raises ConfigError for `--key value` and `--key=value`, of today's keys and of the old launchers' flags."""
    key = flag.lstrip("-")
    hint = flag_hint(key, value)
    if hint is None and (key in groups() or key in known_keys()):
        hint = f"did you mean {key}={value}?"
    if hint and flag not in (*FLAGS, *VALUED):
        raise ConfigError(
            f"{flag} {value} is not a flag; allowed: key=value, and the flags {', '.join((*FLAGS, *VALUED))}\n{hint}"
        )


def check_override(override: str, known: dict[str, list[str]]) -> None:
    """Raises ConfigError for `group=_choice` (such files are shared parts), a group without a choice, a choice's name,
    no folder, and a placeholder of the documentation such as <folder>.
    """
    key, equals, value = override.lstrip("+~").partition("=")
    if not key:
        raise ConfigError(f"{override} names no key; allowed: key=value")
    if key in FOLDERS and equals and not value.strip("'\""):
        raise ConfigError(f"{key}= names no folder; allowed: {key}=<folder>")
    if re.fullmatch(r"<.*>", value):
        raise ConfigError(
            f"{key}={value} is a placeholder; allowed: {key}=<value> with a value of yours, without < and >"
        )
    group, _, rest = key.partition(".")
    if group in known and rest == "name":
        raise ConfigError(
            f"{key}={value} cannot be set by itself, as other keys follow from it; allowed: {group}={value}"
        )
    if key in known and equals and not override.startswith("~"):
        for choice in [value] if value.startswith(("[", "{")) else value.split(","):
            if choice.startswith("_") or NO_CHOICE.fullmatch(choice):
                raise not_known(key, choice, known[key])
