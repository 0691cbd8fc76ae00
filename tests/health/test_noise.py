"""Gradient noise: its size over the steps, and that it depends on the seed and the step only."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.health import HealthSettings, add_gradient_noise
from model.health.callback import GradientHealthCallback
from tests.health.gradients import with_gradients
from tests.health.modules import Small, loader, trainer


@pytest.mark.parametrize(("step", "gamma"), [(0, 0.55), (99, 0.55), (99, 0.0), (9, 2.0)])
def test_variance_follows_the_paper(step, gamma):
    gradient = torch.zeros(200_000)
    add_gradient_noise(
        with_gradients(gradient), noise_std=0.3, gamma=gamma, step=step, generator=torch.Generator().manual_seed(1)
    )
    eta = 0.3**2
    assert float(gradient.var()) == pytest.approx(eta / (1 + step) ** gamma, rel=0.02)
    assert abs(float(gradient.mean())) < 4 * float(gradient.std()) / 200_000**0.5


def test_only_gradients_that_exist_get_noise():
    net = with_gradients(torch.zeros(3), None)
    add_gradient_noise(net, noise_std=1.0)
    assert net[0].grad.count_nonzero() == 3
    assert net[1].grad is None


def test_sparse_gradients_are_refused():
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(TypeError, match="dense gradients"):
        add_gradient_noise(table)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("on_nonfinite", ["skip", "warn"])
def test_a_run_repeats_its_noise_and_another_seed_does_not(on_nonfinite):
    def weights(seed: int, noise: float = 0.01) -> torch.Tensor:
        module = Small()
        torch.manual_seed(int(torch.randint(1000, ()).item()))
        settings = HealthSettings(noise_std=noise, on_nonfinite=on_nonfinite)
        trainer([GradientHealthCallback(settings, None, seed)]).fit(module, loader())
        return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert not torch.equal(weights(1), weights(1, noise=0.0))
