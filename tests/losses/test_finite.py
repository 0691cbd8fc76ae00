"""Every loss on inputs that break plain code: finite, and equal to a float64 evaluation of the same numbers
(tests/oracles.py).
"""

from pathlib import Path

import pytest
import torch

from model.losses import make_loss
from tests import oracles
from tests.conftest import some_of_all
from tests.losses.names import COMPARED

ROOT = Path(__file__).resolve().parents[2]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
N, B, F = 4, 5, 13
# Relative error allowed: of the dtype in which a gradient comes back, of float32 for the value.
PRECISION = {torch.float64: 1e-6, torch.float32: 1e-5, torch.bfloat16: 8e-3, torch.float16: 2e-3}


def normal():
    return torch.randn(N, B, F, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def one_zero_row(x):
    x = x.clone()
    x[1, 2] = 0
    return x


def cancelling(x):
    return torch.stack([x[0], -x[0], x[2], -x[2]])


def one_hot(x):
    hot = torch.randint(0, F, (N, B), generator=torch.Generator().manual_seed(2))
    hot[:, 1] = hot[:, 0]  # two samples alike
    return torch.nn.functional.one_hot(hot, F).double()


def mixed_scales(x):
    return x * torch.logspace(-20, 20, B, dtype=torch.float64)[
        torch.randperm(B, generator=torch.Generator().manual_seed(3))
    ].unsqueeze(1)


INPUTS = {
    "normal": lambda x, info: x,
    "zeros": lambda x, info: 0 * x,
    "1e-10": lambda x, info: 1e-10 * x,
    "subnormal": lambda x, info: 4 * info.smallest_normal * info.eps * x,
    "1e-4": lambda x, info: 1e-4 * x,
    "1e4": lambda x, info: 1e4 * x,
    "1e20": lambda x, info: 1e20 * x,
    "mixed scales": lambda x, info: mixed_scales(x),
    "identical": lambda x, info: x[:1].repeat(N, 1, 1),
    "one zero row": lambda x, info: one_zero_row(x),
    "cancelling": lambda x, info: cancelling(x),
    "one-hot": lambda x, info: one_hot(x),
    "batch of one": lambda x, info: x[:, :1],
}


def views_of(kind, dtype):
    return INPUTS[kind](normal(), torch.finfo(dtype)).to(dtype)


def run(function, x, scale):
    x = x.detach().clone().requires_grad_()
    scale = torch.tensor(scale, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32, requires_grad=True)
    value = function(x, scale)
    value.backward()
    return value.detach(), x.grad, scale.grad


def oracle(name, x):
    limit = torch.finfo(x.dtype).max
    x = x.double().clamp(-limit, limit)[: 2 if name in oracles.TWO_VIEWS else N]
    return run(lambda x, scale: oracles.line_loss(name, x, scale), x, 1 / 0.07)


def check(name, x, noise=0.0):
    """Asserts that loss and gradients of `x` are finite and those of the oracle; `noise`: what float64 leaves of an
    exact 0.
    """
    reads = 2 if name in oracles.TWO_VIEWS else N
    value, by_views, by_scale = run(make_loss(name), x, 1 / 0.07)
    want, want_views, want_scale = oracle(name, x)
    assert torch.isfinite(value)
    assert torch.isfinite(by_views).all()
    assert torch.isfinite(by_scale)
    assert value.item() == pytest.approx(want.item(), rel=1e-5, abs=1e-30)
    assert by_scale.item() == pytest.approx(want_scale.item(), rel=1e-4, abs=1e-6)
    info, tolerance = torch.finfo(x.dtype), PRECISION[x.dtype]
    want_views = want_views.clamp(-info.max, info.max)
    got = by_views[:reads].double()
    for k in range(reads):
        for row, wanted in zip(got[k], want_views[k], strict=True):
            assert (row - wanted).norm() <= tolerance * wanted.norm() + info.smallest_normal * info.eps * F + noise
            assert row.any() or not wanted.abs().amax() > info.smallest_normal


@pytest.mark.parametrize(("name", "dtype", "kind"), some_of_all(2, COMPARED, DTYPES, INPUTS))
def test_finite_and_right(name, dtype, kind):
    if name == "stable_cosine" and dtype == "float16" and kind in ("1e20", "mixed scales"):
        pytest.skip(
            "rows of ±65504: products that are exactly 0 or rounding, where the slope of the root is infinite; "
            "counted below"
        )
    check(name, views_of(kind, DTYPES[dtype]), noise=1e-15 if kind == "cancelling" else 0.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", INPUTS)
def test_random_tuples_are_finite_too(kind, dtype):
    assert all(
        torch.isfinite(result).all() for result in run(make_loss("symile"), views_of(kind, DTYPES[dtype]), 1 / 0.07)
    )


def test_the_documentation_counts_these_cells():
    cells = len(DTYPES) * len(INPUTS)
    assert f"finite in all {cells} tested cases of each loss: three dtypes" in (ROOT / "docs" / "losses.md").read_text()


@pytest.mark.parametrize("factor", [1e-4, 1e4, 1e30, 1e200])
@pytest.mark.parametrize("name", COMPARED)
def test_scaling_a_view(name, factor):
    """x^ = x / (|x| + eps): scaled up nothing changes; scaled down, rows shrink by eps / |x|, as the formula has it."""
    x = normal()
    x[1] *= factor
    check(name, x)
    if factor > 1:
        assert make_loss(name)(x, torch.tensor(14.0)).item() == pytest.approx(
            make_loss(name)(normal(), torch.tensor(14.0)).item(), rel=1e-6
        )


@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_full_with_autocast_on_or_off(name, dtype):
    x = normal().to(dtype)
    plain = run(make_loss(name), x, 14.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = run(make_loss(name), x, 14.0)
        lines = make_loss(name).lines(x)
    full = run(make_loss(name), x.float(), 14.0)
    assert plain[0].dtype == lines.dtype == torch.float32
    assert plain[0] == cast[0] == full[0]
    assert torch.equal(plain[1], cast[1])
    assert torch.equal(plain[1], full[1].to(dtype))


def test_gradients_beyond_the_range_saturate_and_keep_their_sign():
    x = torch.full((2, 2, 3), 6e-8, dtype=torch.float16)  # the smallest number there is; a gradient is about 1e7
    x[0, 0, 1] = -6e-8
    _, by_views, _ = run(make_loss("stock"), x, 14.0)
    want = oracle("stock", x)[1]
    assert want.abs().max() > 65504
    assert by_views.abs().max() == 65504
    assert torch.equal(by_views.sign(), want.to(torch.float16).sign())


def test_nan_stays_nan():
    for name in COMPARED:
        x = normal().float()
        x[1, 1, 1] = torch.nan
        assert torch.isnan(make_loss(name)(x, torch.tensor(14.0)))
