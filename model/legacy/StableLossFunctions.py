"""Old names: the `stable_*` losses of `model.losses`, and the activations and layers of torch, replace this module."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from inspect import unwrap

import torch
from torch import Tensor, nn

from model.errors import ConfigError, one_of
from model.legacy._deprecation import old_name, warn_once
from model.legacy._stable_scores import StableScores

__all__ = ["StableLossFunctions", "get_stable_loss_function", "ImprovedActivations", "GradientStabilizer"]


class StableLossFunctions(StableScores):
    """Guarded operations and scores; `use_log_space` changes nothing."""

    def __init__(
        self, eps: float = 1e-8, clamp_min: float = -100, clamp_max: float = 100, use_log_space: bool = False
    ) -> None:
        warn_once(
            f"{__name__}.StableLossFunctions",
            "model.losses.make_loss('stable_norm').score, and the others named stable_…",
        )
        super().__init__(eps, clamp_min, clamp_max)
        self.use_log_space = use_log_space


class ImprovedActivations:
    """Activation functions under their old names."""

    @staticmethod
    @old_name("torch.nn.functional.gelu")
    def gelu(x: Tensor) -> Tensor:
        """x * Phi(x)."""
        return nn.functional.gelu(x)

    @staticmethod
    @old_name("torch.nn.functional.silu")
    def swish(x: Tensor, beta: float = 1.0) -> Tensor:
        """x * sigmoid(beta * x)."""
        return x * torch.sigmoid(beta * x)

    @staticmethod
    @old_name("torch.nn.functional.mish")
    def mish(x: Tensor) -> Tensor:
        """x * tanh(softplus(x))."""
        return nn.functional.mish(x)

    @staticmethod
    @old_name("torch.nn.functional.leaky_relu")
    def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
        """x above 0, negative_slope * x below."""
        return nn.functional.leaky_relu(x, negative_slope)

    @staticmethod
    @old_name("torch.nn.functional.elu")
    def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
        """x above 0, alpha * (exp(x) - 1) below."""
        return nn.functional.elu(x, alpha)

    @staticmethod
    @old_name("torch.tanh")
    def scaled_tanh(x: Tensor, scale: float = 1.7159) -> Tensor:
        """scale * tanh(x)."""
        return scale * torch.tanh(x)


ACTIVATIONS = tuple(name for name in vars(ImprovedActivations) if not name.startswith("_"))


def _score_with_activation(
    scores: StableScores, loss_version: int, normalize: bool, activation: str | None, *features: Tensor
) -> Tensor:
    result = scores.by_version(loss_version, normalize, *features)
    if activation not in ACTIVATIONS:
        return result
    return unwrap(getattr(ImprovedActivations, activation))(result)


@old_name("model.losses.make_loss('stable_norm').score, and the others named stable_…")
def get_stable_loss_function(
    loss_version: int = 0, normalize: bool = True, eps: float = 1e-8, activation: str | None = None
) -> Callable[..., Tensor]:
    """Returns f(view, view, …) -> logits, unscaled: version 0 einsum, 1 norm-based, 2 cosine, 3 distance. For another
    version, f raises ConfigError, a ValueError.

    normalize: scales rows once more before the score does. activation: the name of a method of ImprovedActivations,
    applied to the result; another name is ignored with a warning.
    """
    if activation is not None and activation not in ACTIVATIONS:
        warnings.warn(
            f"activation={activation} is not known and is ignored; allowed: {', '.join(ACTIVATIONS)}",
            UserWarning,
            stacklevel=3,
        )
    return partial(_score_with_activation, StableScores(eps), loss_version, normalize, activation)


def normalisation(method: str, hidden_dim: int | None, eps: float, momentum: float) -> nn.Module:
    """Returns the layer of GradientStabilizer. Arguments and errors: see `GradientStabilizer`."""
    one_of("method", method, ("layer_norm", "batch_norm", "weight_norm", "spectral_norm"))
    if method in ("weight_norm", "spectral_norm"):
        return nn.Identity()
    if hidden_dim is None:
        raise ConfigError(f"hidden_dim=None is not enough for method={method}; allowed: the number of features")
    if method == "layer_norm":
        return nn.LayerNorm(hidden_dim, eps=eps)
    return nn.BatchNorm1d(hidden_dim, eps=eps, momentum=momentum)


class GradientStabilizer(nn.Module):
    """A layer that normalises its input by layer_norm or batch_norm; weight_norm and spectral_norm return their input
    unchanged.
    """

    def __init__(
        self, method: str = "layer_norm", hidden_dim: int | None = None, eps: float = 1e-8, momentum: float = 0.1
    ) -> None:
        """hidden_dim: features of the input, for the first two. Raises ConfigError, a ValueError, for another method or
        no hidden_dim.
        """
        warn_once(f"{__name__}.GradientStabilizer", "torch.nn.LayerNorm or torch.nn.BatchNorm1d")
        super().__init__()
        self.method = method
        self.norm = normalisation(method, hidden_dim, eps, momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised x; x itself for weight_norm and spectral_norm."""
        return self.norm(x)
