"""Typed configuration: the dataclasses (`schema`), their checks (`checks`) and their composition by Hydra
(`compose`).
"""

from model.config.schema import RunConfig

__all__ = ["RunConfig"]
