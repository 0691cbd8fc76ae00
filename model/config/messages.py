"""Hydra's and OmegaConf's errors in this project's form: two lines at most, naming the key, the value and what is
allowed.
"""

from __future__ import annotations

import re
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError, OmegaConfBaseException

from model.config.compose import CONF, groups, known_keys
from model.config.old_flags import flag_hint, value_hint
from model.config.schema import SCHEMAS, RunConfig
from model.errors import ConfigError, first_line, not_known
from model.record.disk import chain, explained

CONFIG_ERRORS = (ConfigError, HydraException, OmegaConfBaseException)
# OmegaConf's names of types, in the user's words.
TYPES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def two_lines(error: Exception) -> str:
    """The message for one of CONFIG_ERRORS."""
    if isinstance(error, ConfigError):
        return with_old_value(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return unknown_choice(error.missing_cfg_file)
    text = f"{error}\n{error.__cause__ or ''}".strip()
    ambiguous = re.search(r"Ambiguous value for argument '(.+?)'", text)
    if ambiguous:
        return (
            f"{ambiguous.group(1)} is several values; allowed: one value, or -m before the arguments for a sweep "
            f"over them"
        )
    overridden = re.search(r"Could not override '([\w.@/]+)'\.(?:\n.* \+[^=\s]+=(.*))?", text)
    if overridden:
        return unknown_key(overridden.group(1), overridden.group(2) or "")
    unread = re.match(r"Error parsing override '(.*)'|LexerNoViableAltException: (.*)", text)
    if unread:
        override = unread.group(1) or unread.group(2)
        return (
            f"{override} cannot be read; allowed: key=value, in quotes where the value has signs of Hydra's: "
            f"key='\"a=b\"'"
        )
    twice = re.search(r"Multiple values for ([\w/]+)\.", text) or re.search(r"An item is already at '(.+?)'", text)
    if twice:
        return f"+{twice.group(1)} has a value already; allowed: {twice.group(1)}=<value>"
    taken = re.match(r"Error merging override ~(\S+)", text)
    if taken:
        return f"~{taken.group(1)} takes away what is needed; allowed: {taken.group(1)}=<value>"
    if isinstance(error, (InterpolationResolutionError, InterpolationKeyError)):
        return unresolved(text)
    if isinstance(error, ConfigCompositionException):
        unfit = re.match(r"Error merging override \+*(\S+?)=(.*)", text)
        if unfit and allowed_type(unfit.group(1)):
            return f"{unfit.group(1)}={unfit.group(2)} does not fit; allowed: {allowed_type(unfit.group(1))}"
        if "full_key:" in text:
            return wrong_type(text)
    return "\n".join([line.strip() for line in text.splitlines() if line.strip()][:2])


def with_old_value(error: ConfigError) -> str:
    """The error's text. For a value that the old scripts took, the second line names what replaces it today."""
    text = str(error)
    hint = value_hint(*error.key_and_value) if error.key_and_value else None
    return f"{text.splitlines()[0]}\n{hint}" if hint else text


def before_the_job(error: OSError | ValueError, folder: Path | None) -> str:
    """For what Hydra raises before it comes to the job. `folder`: which it was about to make, where that is known."""
    of_files = next((one for one in chain(error) if isinstance(one, OSError)), None)
    if of_files is not None:
        return str(explained(of_files, folder or Path()))
    return first_line(error)


def unresolved(text: str) -> str:
    """From OmegaConf's error for `key=${…}`."""
    key = re.search(r"full_key: (\S+)", text)
    reason = text.splitlines()[0].removesuffix(".")
    return (
        f"{key.group(1) if key else 'a value'} cannot be resolved ({reason}); allowed: a value, or a reference to "
        f"one that is there"
    )


def allowed_type(key: str) -> str | None:
    """What the key takes, in words; None where it is no key."""
    group, _, name = key.rpartition(".")
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
    listed = {"list[str]": "a list, as [a, b]", "list[float]": "a list of numbers, as [0.9, 0.98]"}
    return " or ".join([(words | listed).get(kind, kind), *(["null"] if rest else [])])


def unknown_choice(path: str) -> str:
    """`path` is <group>/<choice>, as Hydra looked for it."""
    group, _, choice = path.removesuffix(".yaml").rpartition("/")
    known = groups()
    return with_old_value(not_known(group, choice, known[group])) if group in known else unknown_key(group or choice)


def unknown_key(key: str, value: str = "") -> str:
    """A dotted key that the configuration does not have; what is allowed are its neighbours. `value`: the given value,
    which a hint may translate.
    """
    parent, _, name = key.rpartition(".")
    owners = choices_with(parent, name)
    if owners:
        return (
            f"{key} is a key of {parent}={f' and {parent}='.join(owners)}; allowed: with one of these, or without "
            f"this key"
        )
    keys = known_keys() + list(groups())
    beside = [name for name in keys if name.rpartition(".")[0] == parent] or sorted(groups())
    near = get_close_matches(key, keys, n=1)
    hint = flag_hint(key, value) or (f"did you mean {near[0]}?" if near else "")
    return f"{key} is not a key here; allowed: {', '.join(beside)}" + (f"\n{hint}" if hint else "")


def choices_with(group: str, name: str) -> list[str]:
    """The choices of a group that have a key which others lack, by the schemas that their files are based on."""
    found = []
    for choice in groups().get(group, []):
        text = (CONF / group / f"{choice}.yaml").read_text(encoding="utf-8")
        for schema, node in SCHEMAS.get(group, {}).items():
            if re.search(rf"^\s*- {schema}$", text, flags=re.MULTILINE) and name in {
                field.name for field in fields(node)
            }:
                found.append(choice)
    return found


def wrong_type(text: str) -> str:
    """From OmegaConf's validation error: "Value 'x' of type 'str' could not be converted to Integer / full_key:
    a.b".
    """
    key = re.search(r"full_key: (\S+)", text)
    value = re.search(r"Value '(.*)' of type", text)
    kind = re.search(r"could not be converted to (\w+)", text)
    if not (key and value and kind):
        return " ".join(text.split("\n    ")[:2]).splitlines()[0]
    allowed = TYPES.get(kind.group(1), kind.group(1))
    given = value.group(1).lower() if value.group(1) in ("True", "False") else value.group(1)
    return f"{key.group(1)}={given} is not {allowed}; allowed: {allowed}"
