"""Hydra's and OmegaConf's errors in this project's form: two lines at most, naming the key, the value and what is allowed."""

from __future__ import annotations

import re
from difflib import get_close_matches

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from model.config.compose import groups, known_keys
from model.errors import ConfigError, not_known

CONFIG_ERRORS = (ConfigError, HydraException, OmegaConfBaseException)
# OmegaConf's names of types, in the user's words.
TYPES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def two_lines(error: Exception) -> str:
    """The message for one of CONFIG_ERRORS."""
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return unknown_choice(error.missing_cfg_file)
    text = f"{error}\n{error.__cause__ or ''}".strip()
    ambiguous = re.search(r"Ambiguous value for argument '(.+?)'", text)
    if ambiguous:
        return f"{ambiguous.group(1)} is several values; allowed: one value, or -m before the arguments for a sweep over them"
    overridden = re.search(r"Could not override '([\w.@/]+)'", text)
    if overridden:
        return unknown_key(overridden.group(1))
    if isinstance(error, ConfigCompositionException) and "full_key:" in text:
        return wrong_type(text)
    return "\n".join([line.strip() for line in text.splitlines() if line.strip()][:2])


def unknown_choice(path: str) -> str:
    """`path` is <group>/<choice>, as Hydra looked for it."""
    group, _, choice = path.removesuffix(".yaml").rpartition("/")
    known = groups()
    return str(not_known(group, choice, known[group])) if group in known else unknown_key(group or choice)


def unknown_key(key: str) -> str:
    """A dotted key that the configuration does not have; what is allowed are its neighbours."""
    parent = key.rpartition(".")[0]
    keys = known_keys() + list(groups())
    beside = [name for name in keys if name.rpartition(".")[0] == parent] or sorted(groups())
    near = get_close_matches(key, keys, n=1)
    hint = f"\ndid you mean {near[0]}?" if near else ""
    return f"{key} is not a key here; allowed: {', '.join(beside)}{hint}"


def wrong_type(text: str) -> str:
    """From OmegaConf's validation error: "Value 'x' of type 'str' could not be converted to Integer / full_key: a.b"."""
    key = re.search(r"full_key: (\S+)", text)
    value = re.search(r"Value '(.*?)'", text)
    kind = re.search(r"could not be converted to (\w+)", text)
    if not (key and value and kind):
        return " ".join(text.split("\n    ")[:2]).splitlines()[0]
    allowed = TYPES.get(kind.group(1), kind.group(1))
    given = value.group(1).lower() if value.group(1) in ("True", "False") else value.group(1)
    return f"{key.group(1)}={given} is not {allowed}; allowed: {allowed}"
