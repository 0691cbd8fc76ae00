"""Annealed Gaussian noise on gradients (Neelakantan et al. 2015, "Adding Gradient Noise Improves Learning for Very Deep
Networks"). torch only.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def noise_deviation(noise_std: float, gamma: float, step: int) -> float:
    """Standard deviation at `step` (from 0): the variance is eta / (1 + step)^gamma with eta = noise_std^2."""
    return noise_std / (1 + step) ** (gamma / 2)


def add_gradient_noise(
    model: nn.Module,
    noise_std: float = 1e-5,
    gamma: float = 0.55,
    step: int = 0,
    generator: torch.Generator | None = None,
) -> None:
    """Adds independent noise of `noise_deviation(noise_std, gamma, step)` to every element of every gradient of
    `model`.

    generator: where the numbers are drawn, on the gradients' device; None: the global one. Raises TypeError for a
    sparse gradient.
    """
    add_noise(
        (parameter.grad for parameter in model.parameters() if parameter.grad is not None),
        noise_deviation(noise_std, gamma, step),
        generator,
    )


@torch.no_grad()
def add_noise(gradients: Iterable[Tensor], deviation: float, generator: torch.Generator | None) -> None:
    """Adds noise of one standard deviation to each of `gradients`, in place. Raises TypeError for a sparse one."""
    for gradient in gradients:
        if gradient.is_sparse:
            raise TypeError("gradient noise needs dense gradients, this one is sparse; accepted: strided gradients")
        drawn = torch.randn(gradient.shape, dtype=gradient.dtype, device=gradient.device, generator=generator)
        gradient.add_(drawn, alpha=deviation)
