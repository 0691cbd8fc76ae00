"""The row-wise part of `gram` against torch.linalg, and the choice of the dtype of its products."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from model.losses import make_loss
from model.losses.evaluation.backend import new_view_pass
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.scratch import Scratch
from model.losses.formulas.rest_volumes import volumes, volumes_of_sums
from model.losses.registry import FORMULAS
from tests import oracles

RIDGE = 1e-6


def near(rows: int, distance: float) -> torch.Tensor:
    """Four views at `distance` from a common row. The second half of the samples repeats the first."""
    generator = torch.Generator().manual_seed(1)
    base = normalize(torch.randn(1, rows // 2, 24, generator=generator), dim=-1)
    views = base + distance * normalize(torch.randn(4, rows // 2, 24, generator=generator), dim=-1)
    return torch.cat([views, views], dim=1)


@pytest.mark.parametrize("function", [volumes, volumes_of_sums])
@pytest.mark.parametrize(("n", "rows"), [(2, 1), (6, 19)])
def test_determinants_and_inverses(compiler, n, rows, function):
    """19 samples do not fill the vectors of the compiled loops."""
    x = torch.randn(rows, n, 7, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    grams = x @ x.transpose(1, 2)
    upper = torch.triu_indices(n, n)
    sums = grams[:, upper[0], upper[1]].T.contiguous().requires_grad_()
    det, rest = function(sums, n, RIDGE)
    ordered = torch.zeros(rows, n, n, dtype=torch.float64).index_put((torch.arange(rows)[:, None], *upper), sums.T)
    full = ordered + ordered.transpose(1, 2) - torch.diag_embed(ordered.diagonal(dim1=1, dim2=2))
    full = full + RIDGE * torch.eye(n, dtype=torch.float64)
    torch.testing.assert_close(det, torch.linalg.det(full), rtol=1e-9, atol=0)
    wanted = [torch.linalg.det(full)]
    for a in range(n):
        keep = [k for k in range(n) if k != a]
        minor = full[:, keep][:, :, keep]
        inverse = torch.linalg.inv(minor)
        entries = [(1 if j == k else 2) * inverse[:, j, k] for j in range(n - 1) for k in range(j, n - 1)]
        wanted.append(torch.stack([torch.linalg.det(minor), *entries]))
        torch.testing.assert_close(rest[a], wanted[-1], rtol=1e-9, atol=1e-12)
    weights = [torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype) for x in wanted]
    got = (det * weights[0]).sum() + (rest * torch.stack(weights[1:])).sum()
    want = sum((x * weight).sum() for x, weight in zip(wanted, weights, strict=True))
    grads = [torch.autograd.grad(total, sums, retain_graph=True)[0] for total in (got, want)]
    torch.testing.assert_close(*grads, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("distance", "dtype"), [(1.0, torch.float32), (0.05, torch.float32), (1e-3, torch.float64)])
@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_products_are_float64_where_views_nearly_depend_on_each_other(distance, dtype, backend):
    loss = make_loss("gram", backend=backend)
    x = near(140, distance)
    assert new_view_pass(loss._evaluator, x, need_grad=False).dtype == dtype
    got, want = x.clone().requires_grad_(), x.double().requires_grad_()
    loss(got, torch.tensor(30.0)).backward()
    oracles.line_loss("gram", want, 30.0).backward()
    tolerance = 1e-6 if backend == "auto" else 2e-5  # the inverses of torch are less accurate than the compiled ones
    assert (got.grad - want.grad).norm() < tolerance * want.grad.norm()


def test_long_rows_that_are_not_normalised_count_relative_to_their_length(compiler):
    evaluator = LineEvaluator(FORMULAS["gram"].score(1e-8), False, 1e-8, Scratch(1 << 20))
    assert new_view_pass(evaluator, 100 * near(140, 1.0), need_grad=False).dtype == torch.float32
    assert new_view_pass(evaluator, 100 * near(140, 1e-3), need_grad=False).dtype == torch.float64
