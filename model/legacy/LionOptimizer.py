"""Old name of the optimizer that `optimizer=lion` chooses."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from model import optim


class Lion(optim.Lion):
    """The Lion of lion-pytorch, which `optimizer=lion` uses too."""

    __signature__ = inspect.signature(optim.Lion)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Takes the arguments of the Lion of lion-pytorch, and warns."""
        warnings.warn(
            "model.LionOptimizer.Lion is an old name; use optimizer=lion, or lion_pytorch.Lion",
            DeprecationWarning,
            stacklevel=2,
        )
        super().__init__(*arguments, **keywords)
