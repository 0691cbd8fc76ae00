"""Typed configuration: the dataclasses (`schema`), their checks (`checks`) and Hydra's side of it (`compose`,
`cli`).
"""

from model.config.schema import RunConfig

__all__ = ["RunConfig"]
