"""What a choice of conf/ comes to where nothing else is said: `loss=stock` -> its keys with their defaults, from the
YAML files alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from model.config.compose import CONF


@cache
def choice_defaults(group: str, choice: str) -> dict[str, Any] | None:
    """Key -> default, references as they are written; None where conf/ has no such choice, as of an own one on Hydra's
    search path.
    """
    path = CONF / group / f"{choice}.yaml"
    if not path.is_file():
        return None
    own = yaml.safe_load(path.read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for part in own.pop("defaults", ["_self_"]):
        # A typed `_schema` lies in no file and sets nothing.
        found |= own if part == "_self_" else choice_defaults(group, part) or {}
    return found
