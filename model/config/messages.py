"""Turns errors of Hydra and OmegaConf into messages of at most two lines: the key, the value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError, OmegaConfBaseException

from model.config.compose import CONF, groups, known_keys
from model.config.old_flags import flag_hint, value_hint
from model.config.schema import SCHEMAS, RunConfig
from model.errors import ConfigError, first_line, not_known
from model.record.disk import error_chain, write_failure_of

CONFIG_ERRORS = (ConfigError, HydraException, OmegaConfBaseException)
# Key of an earlier version -> the hint that names its replacement.
REPLACED = {"data.augment": "did you mean data/transforms=emoji (for true) or data/transforms=none (for false)?"}
# OmegaConf's names of types -> plain English.
TYPES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def two_lines(error: Exception) -> str:
    """Returns the message for one of CONFIG_ERRORS."""
    if isinstance(error, ConfigError):
        return with_old_value(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return unknown_choice(error.missing_cfg_file)
    text = f"{error}\n{error.__cause__ or ''}".strip()
    message = override_message(text)
    if message is not None:
        return message
    if isinstance(error, (InterpolationResolutionError, InterpolationKeyError)):
        return unresolved_reference(text)
    if isinstance(error, ConfigCompositionException):
        unfit = re.match(r"Error merging override \+*(\S+?)=(.*)", text)
        if unfit and allowed_type(unfit.group(1)):
            return f"{unfit.group(1)}={unfit.group(2)} has the wrong type; allowed: {allowed_type(unfit.group(1))}"
        if "full_key:" in text:
            return wrong_type(text)
    return "\n".join([line.strip() for line in text.splitlines() if line.strip()][:2])


def override_message(text: str) -> str | None:
    """Returns the message for an override that Hydra cannot read or apply; None for other errors. text: Hydra's
    text.
    """
    for pattern, message in OVERRIDE_ERRORS.items():
        match = re.search(pattern, text)
        if match:
            return message(*(group or "" for group in match.groups()))
    return None


def with_old_value(error: ConfigError) -> str:
    """Returns the error's text. For a value of the old scripts, the second line names its replacement."""
    text = str(error)
    hint = value_hint(*error.key_and_value) if error.key_and_value else None
    return f"{text.splitlines()[0]}\n{hint}" if hint else text


def startup_message(error: OSError | ValueError, folder: Path | None) -> str:
    """Returns the message for an error that Hydra raises before it calls the job. folder: the folder that Hydra was
    about to create, if it is known.
    """
    file_error = next((cause for cause in error_chain(error) if isinstance(cause, OSError)), None)
    if file_error is not None:
        return str(write_failure_of(file_error, folder or Path()))
    return first_line(error)


def unresolved_reference(text: str) -> str:
    """Returns the message for `key=${…}` that OmegaConf cannot resolve. text: OmegaConf's text."""
    key = re.search(r"full_key: (\S+)", text)
    reason = text.splitlines()[0].removesuffix(".")
    return (
        f"{key.group(1) if key else 'a value'} cannot be resolved ({reason}); allowed: a value, or a reference to a "
        f"key that exists"
    )


def allowed_type(key: str) -> str | None:
    """Describes the values that the key allows; None if there is no such key."""
    parent, _, name = key.rpartition(".")
    group = parent.replace(".", "/")
    types = [
        field.type
        for node in (SCHEMAS.get(group, {}) if group else {"": RunConfig}).values()
        for field in fields(node)
        if field.name == name
    ]
    if not types:
        return None
    kind, *rest = str(types[0]).split(" | ")
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
    lists = {"list[str]": "a list, as [a, b]", "list[float]": "a list of numbers, as [0.9, 0.98]"}
    return " or ".join([(words | lists).get(kind, kind), *(["null"] if rest else [])])


def unknown_choice(path: str) -> str:
    """Returns the message for a choice that does not exist. path: <group>/<choice>, the file that Hydra
    searched for.
    """
    group, _, choice = path.removesuffix(".yaml").rpartition("/")
    choices = groups()
    return (
        with_old_value(not_known(group, choice, choices[group])) if group in choices else unknown_key(group or choice)
    )


def unknown_key(key: str, value: str = "") -> str:
    """Returns the message for a dotted key that the configuration does not have; it lists the other keys of the group.

    value: the given value. If the key is a flag of the old scripts, the hint translates it.
    """
    parent, _, name = key.rpartition(".")
    owners = choices_with(parent, name)
    if owners:
        return (
            f"{key} is a key of {parent}={f' and {parent}='.join(owners)} only; allowed: choose one of these, or leave "
            f"out this key"
        )
    keys = known_keys() + list(groups())
    siblings = [name for name in keys if name.rpartition(".")[0] == parent] or sorted(groups())
    near = get_close_matches(key, keys, n=1)
    hint = REPLACED.get(key) or flag_hint(key, value) or (f"did you mean {near[0]}?" if near else "")
    return f"{key} is not a known key; allowed: {', '.join(siblings)}" + (f"\n{hint}" if hint else "")


def choices_with(group: str, name: str) -> list[str]:
    """Returns the choices of a group whose own schema has the key."""
    choices = []
    for choice in groups().get(group, []):
        text = (CONF / group / f"{choice}.yaml").read_text(encoding="utf-8")
        for schema, node in SCHEMAS.get(group, {}).items():
            if re.search(rf"^\s*- {schema}$", text, flags=re.MULTILINE) and name in {
                field.name for field in fields(node)
            }:
                choices.append(choice)
    return choices


def wrong_type(text: str) -> str:
    """Returns the message for a value of the wrong type.

    text: OmegaConf's text, such as "Value 'x' of type 'str' could not be converted to Integer / full_key: a.b".
    """
    key = re.search(r"full_key: (\S+)", text)
    value = re.search(r"Value '(.*)' of type", text)
    kind = re.search(r"could not be converted to (\w+)", text)
    if not (key and value and kind):
        return " ".join(text.split("\n    ")[:2]).splitlines()[0]
    allowed = TYPES.get(kind.group(1), kind.group(1))
    typed = value.group(1).lower() if value.group(1) in ("True", "False") else value.group(1)
    return f"{key.group(1)}={typed} is not {allowed}; allowed: {allowed}"


# A text of Hydra -> the message that replaces it; the groups of the pattern are the arguments of the function.
OVERRIDE_ERRORS: dict[str, Callable[..., str]] = {
    r"Ambiguous value for argument '(.+?)'": lambda argument: (
        f"{argument} has several values; allowed: one value, or -m before the arguments for a sweep over the values"
    ),
    r"Could not override '([\w.@/]+)'\.(?:\n.* \+[^=\s]+=(.*))?": unknown_key,
    r"\A(?:Error parsing override '(.*)'|LexerNoViableAltException: (.*))": lambda override, other: (
        f"{override or other} cannot be read; allowed: key=value, with quotes if the value has special characters of "
        f"Hydra: key='\"a=b\"'"
    ),
    r"(?:Multiple values for ([\w/]+)\.|An item is already at '(.+?)')": lambda group, item: (
        f"+{group or item} already has a value; allowed: {group or item}=<value>"
    ),
    r"\AError merging override ~(\S+)": lambda key: f"~{key} removes a required key; allowed: {key}=<value>",
}
