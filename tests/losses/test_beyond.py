"""Losses that the original code lacks: symile, gram, siglip, pairwise_clip, and a user's own function."""

import copy
import itertools

import pytest
import torch
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from model.losses import make_loss
from model.losses.objective.symile import permutations_by_sorting
from tests import oracles

SCALE = torch.tensor(5.0, dtype=torch.float64)


def draw(n=4, rows=6, features=5, seed=0):
    return torch.randn(n, rows, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_pairwise_clip_is_the_mean_of_clip_over_pairs():
    x = draw()
    want = sum(make_loss("stock")(x[[i, j]], SCALE) for i, j in itertools.combinations(range(4), 2)) / 6
    torch.testing.assert_close(make_loss("pairwise_clip")(x, SCALE), want)


def test_siglip_is_the_sum_of_sigmoids_with_a_learned_bias():
    x = draw(2)
    loss = make_loss("siglip")
    rows = normalize(x, dim=-1)
    signs = 2 * torch.eye(6, dtype=torch.float64) - 1
    want = -logsigmoid(signs * (5 * rows[0] @ rows[1].T - 10)).sum() / 6
    torch.testing.assert_close(loss(x, SCALE), want)
    loss(x, SCALE).backward()
    bias = torch.tensor(-10.0, dtype=torch.float64, requires_grad=True)
    (-logsigmoid(signs * (5 * rows[0] @ rows[1].T + bias)).sum() / 6).backward()
    assert loss.bias.grad.item() == pytest.approx(bias.grad.item(), rel=1e-5)


class TestSymile:
    def candidates(self, loss, x, draws):
        """Logits by hand: anchor a's row i against tuples whose other rows are permuted, and against its own sample."""
        n, size, _ = x.shape
        orders = iter(
            torch.randperm(size, generator=g)
            for g in [torch.Generator().manual_seed((3 << 32) + draws)]
            for _ in range(n * (n - 1))
        )
        logits = torch.empty(n, size, size, dtype=torch.float64)
        for a in range(n):
            others = [x[k][next(orders)] for k in range(n) if k != a]
            for i in range(size):
                for c in range(size):
                    rows = [x[k][i] for k in range(n) if k != a] if i == c else [view[c] for view in others]
                    logits[a, i, c] = (x[a][i] * torch.stack(rows).prod(0)).sum()
        return logits

    def test_each_row_is_contrasted_with_random_tuples(self):
        x, loss = draw(3), make_loss("symile", seed=3)
        rows = normalize(x, dim=-1)
        for draws in range(2):
            torch.testing.assert_close(loss.lines(x), self.candidates(loss, rows, draws), rtol=1e-6, atol=1e-9)
            logits = self.candidates(loss, rows, draws) * SCALE
            want = sum(cross_entropy(logits[a], torch.arange(6)) for a in range(3)) / 3
            torch.testing.assert_close(loss(x, SCALE), want, rtol=1e-6, atol=0)

    def test_the_draws_are_part_of_the_state_and_stand_still_in_evaluation(self):
        x, loss, resumed = draw(3), make_loss("symile", seed=3), make_loss("symile", seed=3)
        first = loss(x, SCALE)
        resumed.load_state_dict(loss.state_dict())
        second = loss(x, SCALE)
        assert first != second
        assert resumed(x, SCALE) == second
        loss.eval()
        assert loss(x, SCALE) == loss(x, SCALE)

    @pytest.mark.parametrize("backend", ["auto", "eager"])
    def test_products_of_a_larger_batch_of_float32(self, backend):
        """Beyond 128 rows they are float32. Checked with autograd in float64, by the definition."""
        x, size = draw(4, rows=140, features=24).float(), 140
        got, want = x.clone().requires_grad_(), x.double().requires_grad_()
        loss = make_loss("symile", seed=3, backend=backend)(got, SCALE)
        loss.backward()
        generator, rows = torch.Generator().manual_seed(3 << 32), normalize(want, dim=-1)
        matches = rows.prod(0).sum(-1)
        expected = 0
        for a in range(4):
            rest = [rows[k][torch.randperm(size, generator=generator)] for k in range(4) if k != a]
            logits = torch.where(torch.eye(size, dtype=torch.bool), matches, rows[a] @ torch.stack(rest).prod(0).T)
            expected = expected + cross_entropy(SCALE * logits, torch.arange(size)) / 4
        expected.backward()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        assert (got.grad - want.grad).norm() < 1e-5 * want.grad.norm()

    def test_draws_that_are_loaded_are_used(self):
        x, loss = draw(3), make_loss("symile", seed=3)
        start = copy.deepcopy(loss.state_dict())
        first, second = loss(x, SCALE), loss(x, SCALE)
        loss.load_state_dict(start)
        assert [loss(x, SCALE), loss(x, SCALE)] == [first, second]
        loss.draws.fill_(1)
        assert loss(x, SCALE) == second

    def test_permutations_of_a_device_are_permutations(self):
        orders = permutations_by_sorting(50, 20, torch.Generator().manual_seed(0))
        assert torch.equal(orders.sort(1).values, torch.arange(20).expand(50, 20))
        assert len({tuple(order.tolist()) for order in orders}) == 50

    def test_gradients_are_those_of_finite_differences(self):
        loss = make_loss("symile").eval()
        torch.autograd.gradcheck(
            lambda x, scale: loss(x, scale),
            (draw(3).requires_grad_(), SCALE.clone().requires_grad_()),
            rtol=1e-5,
            atol=1e-8,
        )


class TestGram:
    def test_two_views_span_the_sine_of_their_angle(self):
        x = draw(2)
        cosine = normalize(x, dim=-1)[0] @ normalize(x, dim=-1)[1].T
        torch.testing.assert_close(make_loss("gram").score(x), -(1 - cosine**2).sqrt(), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(("n", "volume"), [(2, 0.436), (3, 0.167), (4, 0.061), (6, 0.0074)])
    def test_views_at_pairwise_cosine_nine_tenths(self, n, volume):
        root = torch.linalg.cholesky(
            0.9 * torch.ones(n, n, dtype=torch.float64) + 0.1 * torch.eye(n, dtype=torch.float64)
        )
        score = make_loss("gram").score(root.unsqueeze(1))
        assert -score.item() == pytest.approx(volume, rel=0.01)

    @pytest.mark.parametrize("equal", [[0, 1], [0, 1, 2, 3]])
    def test_equal_views_have_finite_gradients_that_teach_the_others(self, equal):
        x = draw().float()
        x[equal] = x[equal[0]].clone()
        x.requires_grad_()
        loss = make_loss("gram")(x, torch.tensor(100.0))
        loss.backward()
        assert torch.isfinite(x.grad).all()
        assert (x.grad.flatten(1).norm(dim=1) > 1e-6).all()
        y = x.detach().double().requires_grad_()
        oracles.line_loss("gram", y, 100.0).backward()
        torch.testing.assert_close(x.grad.double(), y.grad, rtol=1e-3, atol=1e-6)


class TestUsersOwn:
    @staticmethod
    def largest_feature(views):
        """Not one of the family: the largest product of a feature over the views."""
        total = views[0]
        for view in views[1:]:
            total = total.unsqueeze(-2) * view
        return total.amax(-1)

    def test_a_dense_function_trains_along_lines(self):
        x, y = draw(3).requires_grad_(), draw(3).requires_grad_()
        lines, dense = make_loss(self.largest_feature), make_loss(self.largest_feature, evaluation="dense")
        a, b = lines(x, SCALE), dense(y, SCALE)
        a.backward()
        b.backward()
        torch.testing.assert_close((a, x.grad), (b, y.grad))
        assert lines.score(x).shape == (6, 6, 6)
        assert lines.name == "largest_feature"

    def test_a_known_score_as_a_function_is_that_loss(self):
        einsum = make_loss(lambda views: torch.einsum("az,bz,cz->abc", *views), mask="raw", axes="first")
        want = make_loss("einsum", mask="raw", axes="first")
        torch.testing.assert_close(einsum(draw(3), SCALE), want(draw(3), SCALE))
        torch.testing.assert_close(einsum.lines(draw(3)), want.lines(draw(3)))
