"""Feature sums in compiled loops against autograd in float64, and the sums of which their operands consist."""

import platform
from pathlib import Path

import pytest
import torch

from model.losses import integrands
from model.losses.compiled import native
from model.losses.compiled.feature_kernel import FeatureKernel, feature_kernel
from model.losses.compiled.feature_source import feature_source
from model.losses.numerics import moments, square_sum

# Each integrand, with its numbers of row operands and candidate operands.
KINDS = {
    "root_sum": (integrands.root_sum, 1, 1),
    "root_distance": (integrands.root_distance, 2, 1),
    "root_less_distance": (integrands.root_less_distance, 2, 2),
    "squared_distance": (integrands.squared_distance, 2, 1),
    "power 2": (integrands.power(2), 1, 1),
    "power 5": (integrands.power(5), 1, 1),
    "|y - u|": (lambda u, y: (y - u).abs(), 1, 1),
    "root inside": (
        lambda v, w: (v + w).safe_sqrt() * w if not isinstance(v, torch.Tensor) else (v + w).sqrt() * w,
        1,
        1,
    ),
}
# Rows of the tile, candidates, features: full blocks, and remainders.
SHAPES = [(8, 16, 32), (9, 13, 37), (1, 2, 1), (3, 70, 130), (70, 5, 16)]

pytestmark = pytest.mark.usefixtures("compiler")


def draw(count, *shape, dtype):
    return [
        torch.rand(*shape, generator=torch.Generator().manual_seed(10 * k + shape[0]), dtype=dtype) + 0.1
        for k in range(count)
    ]


def reference(integrand, rows, cols, first, seed):
    """Sums less those at the match, and the gradients of rows and cols, in float64."""
    rows, cols = ([x.double().requires_grad_() for x in group] for group in (rows, cols))
    sums = integrand(*(x.unsqueeze(1) for x in rows), *cols).sum(-1)
    match = sums[torch.arange(len(sums)), torch.arange(len(sums)) + first]
    return (sums - match.unsqueeze(1)).detach(), torch.autograd.grad(sums, [*rows, *cols], seed.double())


def check(kernel, kind, dtype):
    """Asserts that sums and gradients are the reference's."""
    integrand, row_count, col_count = KINDS[kind]
    tolerance = 2e-6 if dtype == torch.float32 else 1e-13
    for count, size, features in SHAPES:
        first, count = min(1, size - 1), min(count, size - 1)
        rows, cols = draw(row_count, count, features, dtype=dtype), draw(col_count, size, features, dtype=dtype)
        cols[-1][size - 1] = rows[-1][0]  # where |.| has no slope
        seed = torch.randn(count, size, generator=torch.Generator().manual_seed(3), dtype=dtype)
        want, want_grads = reference(integrand, rows, cols, first, seed)
        sums = [torch.zeros_like(x) for x in (*rows, *cols)]
        got = kernel.cells(rows, cols, first)
        for _ in range(2):  # it adds
            kernel.backward(rows, cols, seed, sums[:row_count], sums[row_count:])
        torch.testing.assert_close(got.double(), want, rtol=tolerance, atol=tolerance * features**0.5)
        for total, grad in zip(sums, want_grads, strict=True):
            torch.testing.assert_close(total.double() / 2, grad, rtol=0, atol=10 * tolerance * grad.abs().max().item())


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_sums_and_their_gradients(kind, dtype, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check(feature_kernel(*KINDS[kind], dtype), kind, dtype)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("target", ["-march=x86-64", "-march=x86-64-v3"])
def test_older_processors(target, monkeypatch):
    info = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not info.exists() or " avx2 " not in info.read_text():
        pytest.skip("needs an x86 processor with AVX2")
    flags = tuple(target if flag == "-march=native" else flag for flag in native.FLAGS)
    monkeypatch.setattr(native, "FLAGS", flags)
    for dtype in (torch.float32, torch.float64):
        library = native.build(feature_source(*KINDS["root_less_distance"], dtype)).library
        check(FeatureKernel(library, *KINDS["root_less_distance"][1:], dtype), "root_less_distance", dtype)


def test_differences_of_roots_keep_more_digits_than_roots():
    generator = torch.Generator().manual_seed(0)
    v, w = torch.rand(1, 16, generator=generator) + 0.1, torch.rand(1, 16, generator=generator)
    w = torch.cat([w, w + 2e-5 * torch.rand(64, 16, generator=generator)])
    squares = v + w  # their own rounding is not the root's
    want = (squares.double().sqrt() - squares[0].double().sqrt()).sum(1)
    plain = (squares.sqrt() - squares[0].sqrt()).double().sum(1)
    got = feature_kernel(integrands.root_sum, 1, 1, torch.float32).cells([v], [w], 0)[0].double()
    assert (got - want).norm() < 0.2 * (plain - want).norm()


def test_weights_of_zero_leave_gradients_as_they_are():
    rows, cols = draw(1, 5, 32, dtype=torch.float32), draw(1, 7, 32, dtype=torch.float32)
    sums = draw(1, 5, 32, dtype=torch.float32), draw(1, 7, 32, dtype=torch.float32)
    before = [x[0].clone() for x in sums]
    feature_kernel(integrands.root_sum, 1, 1, torch.float32).backward(rows, cols, torch.zeros(5, 7), *sums)
    assert torch.equal(sums[0][0], before[0])
    assert torch.equal(sums[1][0], before[1])


@pytest.mark.parametrize(
    "function", [square_sum, lambda tensors: moments(tensors)[0], lambda tensors: moments(tensors)[1]]
)
@pytest.mark.parametrize("shapes", [[(3, 4)], [(3, 4)] * 3, [(3, 1, 4), (2, 4), (4,)]])
def test_sums_over_views_broadcast_and_are_differentiable(function, shapes):
    tensors = [
        torch.randn(shape, generator=torch.Generator().manual_seed(k), dtype=torch.float64).requires_grad_()
        for k, shape in enumerate(shapes)
    ]
    assert torch.autograd.gradcheck(lambda *x: function(x), tensors)
    assert torch.autograd.gradgradcheck(lambda *x: function(x), tensors)


def test_moments_are_sum_and_sum_of_squares():
    a, b = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 5.0])
    total, squares = moments([a, b], above=0.5)
    assert total.tolist() == [4.0, 3.0]
    assert squares.tolist() == [10.5, 29.5]
    assert a.tolist() == [1.0, -2.0]
