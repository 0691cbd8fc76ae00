"""Float32 where it is weakest, views that come close and batches that are nearly solved, against float64 on the same
numbers.
"""

import pytest
import torch

from model.losses import make_loss
from tests import oracles
from tests.conftest import some, some_of_all
from tests.losses.names import COMPARED

N, F = 6, 32
DISTANCES = [1.0, 1e-1, 1e-2, 1e-3]
# The derivative of sqrt(V) magnifies the rounding of rows at this distance.
LOOSE = {(name, 1e-3): 1e-4 for name in ("loss1", "loss2", "loss6")}
# Distances of views, and scales of the logits, at which no digits cancel.
SPREAD = ((1.0, 1 / 0.07), (1e-1, 100.0))
ELEMENTWISE = ("loss1", "loss3", "loss4", "normsv6", "normsv7", "normsv8", "normsv9")


def near(rows, distance, features=F):
    """Views of a sample at `distance` from a common unit row, in float32."""
    generator = torch.Generator().manual_seed(int(-100 * torch.tensor(distance).log10()) + rows)
    rest = [torch.nn.functional.normalize(torch.randn(k, rows, features, generator=generator), dim=-1) for k in (1, N)]
    return rest[0] + distance * rest[1]


def run(function, x, scale):
    x = x.detach().clone().requires_grad_()
    scale = torch.tensor(scale, dtype=x.dtype, requires_grad=True)
    value = function(x, scale)
    value.backward()
    return value.detach().double(), x.grad.double(), scale.grad.double()


def relative(got, want):
    return ((got - want).norm() / want.norm().clamp(min=1e-30)).item()


def errors_of(name, x, scale):
    """Relative errors of the loss and of its gradients with respect to the views and to the scale."""
    x = x[: 2 if name in oracles.TWO_VIEWS else None]
    got = run(make_loss(name), x, scale)
    want = run(lambda x, scale: oracles.line_loss(name, x, scale), x.double(), scale)
    return [relative(a, b) for a, b in zip(got, want, strict=True)]


@pytest.mark.parametrize(("name", "distance", "scale"), some_of_all(2, COMPARED, DISTANCES, [1 / 0.07, 100.0]))
def test_float32_loss_and_gradients(name, distance, scale):
    errors = errors_of(name, near(24, distance), scale)
    assert max(errors[:2]) <= LOOSE.get((name, distance), 1e-5), errors
    assert errors[2] <= 1e-4, errors


@pytest.mark.parametrize(
    ("distance", "scale"), [(1e-3, 100.0), *(pytest.param(*case, marks=pytest.mark.slow) for case in SPREAD)]
)
@pytest.mark.parametrize("name", some(COMPARED, 2))
def test_float32_products_of_larger_batches(name, distance, scale):
    errors = errors_of(name, near(132, distance)[:3], scale)
    assert max(errors[:2]) <= LOOSE.get((name, distance), 1e-5), errors
    assert errors[2] <= 1e-4, errors


@pytest.mark.parametrize(
    "distance", [pytest.param(1.0, marks=pytest.mark.slow), pytest.param(1e-1, marks=pytest.mark.slow), 1e-2]
)
@pytest.mark.parametrize(
    "name", [ELEMENTWISE[0], *(pytest.param(name, marks=pytest.mark.slow) for name in ELEMENTWISE[1:])]
)
def test_float32_sums_over_many_features(name, distance):
    """Hundreds of roots are added, and each is as large as the difference between two candidates."""
    errors = errors_of(name, near(72, distance, features=500)[:3], 100.0)
    assert max(errors) <= 1e-5, errors


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("name", ["loss5", "loss6", "loss7"])
def test_matched_scores_keep_their_distance_from_1(name, distance):
    x = near(6, distance)
    got = make_loss(name).score(x)[(torch.arange(6),) * N]
    want = oracles.lines(name, x)[0].diagonal()
    assert got.dtype == torch.float32
    assert ((1 - got.double()) / (1 - want) - 1).abs().max() < 0.01
