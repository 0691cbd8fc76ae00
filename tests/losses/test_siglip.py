"""The sigmoid loss of pairs in tiles, against its definition in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import logsigmoid, normalize

from model.losses import make_loss
from tests.losses.test_memory import MIB, PeakBytes


def draw(rows: int, features: int = 24) -> torch.Tensor:
    """Two views that agree in part, float32."""
    x = torch.randn(2, rows, features, generator=torch.Generator().manual_seed(rows))
    return torch.stack([x[0], x[0] + x[1]])


def definition(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    first, second = normalize(x, dim=-1)
    labels = 2 * torch.eye(len(first), dtype=x.dtype) - 1
    return -logsigmoid(labels * (scale * first @ second.T + bias)).sum() / len(first)


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (100.0, 3.0), (3000.0, -900.0)])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_loss_and_gradients(backend, rows, scale, bias):
    """At 300 rows, products are float32 and there are two tiles. At the last scale, some exp(-logit) overflow."""
    loss = make_loss("siglip", backend=backend)
    loss.bias.data.fill_(bias)
    got, want = draw(rows).requires_grad_(), draw(rows).double().requires_grad_()
    scales = [torch.tensor(scale, dtype=x.dtype, requires_grad=True) for x in (got, want)]
    wanted_bias = torch.tensor(bias, dtype=torch.float64, requires_grad=True)
    value, expected = loss(got, scales[0]), definition(want, scales[1], wanted_bias)
    value.backward()
    expected.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert (got.grad - want.grad).norm() <= 1e-5 * want.grad.norm() + 1e-30
    assert scales[0].grad.item() == pytest.approx(scales[1].grad.item(), rel=1e-4)
    assert loss.bias.grad.item() == pytest.approx(wanted_bias.grad.item(), rel=1e-5)


@pytest.mark.parametrize("bias", [-20.0, -60.0])
@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_small_losses_keep_their_digits(backend, bias):
    """Matches are certain, and every other pair has the score 0: log(1 + exp(bias)), far below the precision of 1."""
    loss, x = make_loss("siglip", backend=backend), torch.eye(40).expand(2, 40, 40)
    loss.bias.data.fill_(bias)
    assert loss(x, torch.tensor(1000.0)).item() == pytest.approx(39 * math.log1p(math.exp(bias)), rel=1e-6)


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_nothing_of_all_pairs_is_held(compiler, backend):
    x = draw(1024, features=4).requires_grad_()
    with PeakBytes() as measured:
        make_loss("siglip", backend=backend)(x, torch.tensor(10.0)).backward()
    assert measured.peak < 4 * MIB  # (B, B) of float32
