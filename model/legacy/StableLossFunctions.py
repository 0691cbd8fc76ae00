"""Old names: the `stable_*` losses of `model.losses` and the activations of torch replace this module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from model.errors import one_of
from model.legacy.calls import Logits, old_function, warn_once

NAMES = ("stable_einsum", "stable_norm", "stable_cosine", "stable_distance")


class StableLossFunctions:
    """The four as static methods: (view, view, …) -> logits, unscaled."""

    stable_einsum, stable_norm, stable_cosine, stable_distance = (
        staticmethod(old_function(__name__, f"StableLossFunctions.{name}", name)) for name in NAMES
    )


def get_stable_loss_function(name: str) -> Callable[..., Logits]:
    """One of the four by name, with or without `stable_`. Raises ValueError for another."""
    full = name if name.startswith("stable_") else f"stable_{name}"
    one_of("name", full, NAMES)
    return getattr(StableLossFunctions, full)


class ImprovedActivations:
    """Activations under their old names."""

    @staticmethod
    def swish(x: Tensor) -> Tensor:
        """x * sigmoid(x)."""
        warn_once(f"{__name__}.ImprovedActivations.swish", "torch.nn.functional.silu")
        return torch.nn.functional.silu(x)

    @staticmethod
    def gelu(x: Tensor) -> Tensor:
        """x * Phi(x)."""
        warn_once(f"{__name__}.ImprovedActivations.gelu", "torch.nn.functional.gelu")
        return torch.nn.functional.gelu(x)

    @staticmethod
    def mish(x: Tensor) -> Tensor:
        """x * tanh(softplus(x))."""
        warn_once(f"{__name__}.ImprovedActivations.mish", "torch.nn.functional.mish")
        return torch.nn.functional.mish(x)
