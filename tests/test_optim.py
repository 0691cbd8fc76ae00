"""The optimizer's steps equal the published formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from model.config.schema import AdamWConfig
from model.optim import make_optimizer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adamw_is_that_of_the_paper(dtype):
    """Loshchilov and Hutter 2019, algorithm 2, in float64: a decayed matrix and a bias without decay."""
    module = nn.Linear(3, 2).to(dtype)
    config = AdamWConfig(name="adamw", lr=0.01, betas=[0.9, 0.98], eps=1e-6, weight_decay=0.1)
    optimizer, generator = make_optimizer(module, config), np.random.default_rng(0)
    weights = {name: p.detach().double().numpy().copy() for name, p in module.named_parameters()}
    first = {name: np.zeros_like(w) for name, w in weights.items()}
    second = {name: np.zeros_like(w) for name, w in weights.items()}
    for step in range(1, 6):
        for name, parameter in module.named_parameters():
            gradient = generator.normal(size=weights[name].shape)
            parameter.grad = torch.from_numpy(gradient).to(dtype)
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.98 * second[name] + 0.02 * gradient**2
            mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.98**step)
            decay = 0.1 if name == "weight" else 0.0
            weights[name] -= 0.01 * (mean / (np.sqrt(square) + 1e-6) + decay * weights[name])
        optimizer.step()
    for name, parameter in module.named_parameters():
        tolerance = 1e-12 if dtype == torch.float64 else 1e-6
        np.testing.assert_allclose(parameter.detach().double().numpy(), weights[name], rtol=0, atol=tolerance)
