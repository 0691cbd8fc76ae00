"""Reads the defaults of a choice of conf/, such as `loss=stock`, from the YAML files alone."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from model.config.compose import CONF


@cache
def choice_defaults(group: str, choice: str) -> dict[str, Any] | None:
    """Returns key -> default; references to other keys are not resolved. None if conf/ has no such choice: a user can
    add choices with `hydra.searchpath`.
    """
    path = CONF / group / f"{choice}.yaml"
    if not path.is_file():
        return None
    own = yaml.safe_load(path.read_text(encoding="utf-8"))
    defaults: dict[str, Any] = {}
    for base in own.pop("defaults", ["_self_"]):
        if isinstance(base, dict):  # a nested group, as `transforms: none` or `override transforms: emoji`
            ((nested, chosen),) = base.items()
            name = nested.removeprefix("override ")
            defaults[name] = choice_defaults(f"{group}/{name}", chosen) or {}
            continue
        # `_schema` names a dataclass, not a file, and sets no value.
        defaults |= own if base == "_self_" else choice_defaults(group, base) or {}
    return defaults
