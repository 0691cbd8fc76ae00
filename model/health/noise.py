"""Adds annealed Gaussian noise to gradients (Neelakantan et al. 2015, "Adding Gradient Noise Improves Learning for Very
Deep Networks"). torch only.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from model.health.stats import by_device

# Two runs with different seeds never seed a generator with the same number if both have fewer steps than this.
SEED_STRIDE = 1_000_003


def noise_deviation(noise_std: float, gamma: float, step: int) -> float:
    """Returns the standard deviation at `step`, counted from 0. The variance is noise_std^2 / (1 + step)^gamma."""
    return noise_std / (1 + step) ** (gamma / 2)


def add_gradient_noise(
    model: nn.Module,
    noise_std: float = 1e-5,
    gamma: float = 0.55,
    step: int = 0,
    generator: torch.Generator | None = None,
) -> None:
    """Adds independent Gaussian noise to every element of every gradient of `model`, in place.

    The standard deviation is `noise_deviation(noise_std, gamma, step)`. generator: draws the noise, on the device of
    the gradients; None: torch's global generator. Raises TypeError for a sparse gradient.
    """
    add_noise(
        (parameter.grad for parameter in model.parameters() if parameter.grad is not None),
        noise_deviation(noise_std, gamma, step),
        generator,
    )


@torch.no_grad()
def add_noise(gradients: Iterable[Tensor], deviation: float, generator: torch.Generator | None) -> None:
    """Adds Gaussian noise of standard deviation `deviation` in place. Raises TypeError for a sparse gradient."""
    for gradient in gradients:
        if gradient.is_sparse:
            raise TypeError("gradient noise needs dense gradients, this one is sparse; accepted: strided gradients")
        noise = torch.randn(gradient.shape, dtype=gradient.dtype, device=gradient.device, generator=generator)
        gradient.add_(noise, alpha=deviation)


def add_seeded_noise(gradients: Iterable[Tensor], deviation: float, seed: int, step: int) -> None:
    """Adds noise that depends on `seed` and `step` only: all processes, and a resumed run, add the same noise."""
    for device, tensors in by_device(gradients).items():
        add_noise(tensors, deviation, torch.Generator(device).manual_seed(seed * SEED_STRIDE + step))
