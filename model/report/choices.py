"""What a choice of conf/ comes to where nothing else is said: `loss=stock` -> its keys with their defaults, from the YAML files alone."""

from __future__ import annotations

from functools import cache
from typing import Any

from omegaconf import OmegaConf

from model.config.compose import CONF


@cache
def choice_defaults(group: str, choice: str) -> dict[str, Any] | None:
    """Key -> default, references as they are written; None where conf/ has no such choice, as of an own one on Hydra's search path."""
    path = CONF / group / f"{choice}.yaml"
    if not path.is_file():
        return None
    own = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    found: dict[str, Any] = {}
    for part in own.pop("defaults", ["_self_"]):
        # A typed `_schema` lies in no file and sets nothing.
        found |= own if part == "_self_" else choice_defaults(group, part) or {}
    return found
