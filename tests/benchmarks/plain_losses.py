"""The losses along lines in plain autograd, one function for each family: the baseline of benchmarks.

Each function writes out the formula of losses.md in float32, with torch's own cross-entropy, and nothing that makes it
accurate or small. Shapes: n views (B, F).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import combinations
from operator import add, mul

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

Views = Sequence[Tensor]
PlainLoss = Callable[[Views, Tensor], Tensor]
# (normalised views, the view whose rows are the candidates) -> scores (B, B) of rows and candidates.
Lines = Callable[[Views, int], Tensor]


def mean_cross_entropy(lines: Lines) -> PlainLoss:
    """Returns the mean of the cross-entropies of all directions."""

    def loss(views: Views, scale: Tensor) -> Tensor:
        rows = [normalize(view, dim=-1) for view in views]
        matches = torch.arange(len(rows[0]), device=rows[0].device)
        return reduce(add, [cross_entropy(scale * lines(rows, a), matches) for a in range(len(rows))]) / len(rows)

    return loss


def rest_of(views: Views, a: int) -> list[Tensor]:
    """Returns all views but view a."""
    return [view for k, view in enumerate(views) if k != a]


def product_lines(views: Views, a: int) -> Tensor:
    """Returns the multilinear inner products: `einsum`."""
    return reduce(mul, rest_of(views, a)) @ views[a].T


def gram_lines(formula: Callable[[Tensor, Tensor, int], Tensor]) -> Lines:
    """Returns the lines of a function of |S|^2, sum_k |x_k|^2 and n."""

    def lines(views: Views, a: int) -> Tensor:
        rest, own = reduce(add, rest_of(views, a)), views[a].square().sum(1)
        sum_square = rest.square().sum(1)[:, None] + 2 * rest @ views[a].T + own
        squares = reduce(add, [view.square().sum(1) for view in rest_of(views, a)])[:, None] + own
        return formula(sum_square, squares, len(views))

    return lines


def norms(sum_square: Tensor, squares: Tensor, n: int) -> Tensor:
    """Returns |S|."""
    return sum_square.clamp(min=1e-12).sqrt()


def loss5(sum_square: Tensor, squares: Tensor, n: int) -> Tensor:
    """Returns 1 - sum_z V."""
    return 1 - (squares - sum_square / n)


def loss6(sum_square: Tensor, squares: Tensor, n: int) -> Tensor:
    """Returns 1 - sqrt(sum_z V)."""
    return 1 - (squares - sum_square / n).clamp(min=1e-12).sqrt()


def normsv5_lines(views: Views, a: int) -> Tensor:
    """Returns the sums of the cosines between each view and the sum of the others."""
    rest = rest_of(views, a)
    own, sum_of_rest = views[a].square().sum(1), reduce(add, rest)
    cells = [view @ views[a].T for view in rest]
    with_rest = reduce(add, cells)
    score = with_rest / sum_of_rest.norm(dim=1)[:, None]
    for view, cell in zip(rest, cells, strict=True):
        without = sum_of_rest - view
        square = without.square().sum(1)[:, None] + 2 * (with_rest - cell) + own
        score = score + ((view * without).sum(1)[:, None] + cell) / square.clamp(min=1e-12).sqrt()
    return score


def gram_volume_lines(views: Views, a: int) -> Tensor:
    """Returns minus the volumes, from the inverses of the Gram matrices of the other views."""
    rest = torch.stack(rest_of(views, a), dim=1)
    gram = rest @ rest.transpose(1, 2) + 1e-6 * torch.eye(rest.shape[1], device=rest.device)
    inner = torch.einsum("bkf,cf->bkc", rest, views[a])
    height = views[a].square().sum(1) - (inner * torch.linalg.solve(gram, inner)).sum(1)
    return -(torch.linalg.det(gram)[:, None] * height).clamp(min=1e-12).sqrt()


def feature_lines(formula: Callable[[list[Tensor]], Tensor]) -> Lines:
    """Returns the lines of a function of n tensors that broadcast to (B, B, F), summed over features."""
    return lambda views, a: formula([view if k == a else view[:, None] for k, view in enumerate(views)])


def spread(x: list[Tensor]) -> Tensor:
    """Returns V of each feature."""
    return reduce(add, [view.square() for view in x]) - reduce(add, x).square() / len(x)


def root_square(x: list[Tensor]) -> Tensor:
    """Returns sum_z sqrt(Q)."""
    return reduce(add, [view.square() for view in x]).clamp(min=1e-12).sqrt().sum(-1)


def magnitude(x: list[Tensor]) -> Tensor:
    """Returns m of each feature."""
    return reduce(add, [view.abs() for view in x]) / len(x)


FEATURE_FORMULAS: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "loss1": lambda x: 1 - spread(x).abs().clamp(min=1e-12).sqrt().mean(-1),
    "loss3": lambda x: 1 - spread(x).square().sum(-1).clamp(min=1e-12).sqrt(),
    "loss4": lambda x: 1 - root_square(x),
    "normsv6": lambda x: magnitude(x).sum(-1) * (1 - math.sqrt(len(x))) + root_square(x),
    "normsv7": lambda x: magnitude(x).sum(-1) * (1 + math.sqrt(len(x))) - root_square(x),
    "normsv8": lambda x: (reduce(add, x) / len(x) - magnitude(x) ** len(x) / 2).sum(-1),
    "normsv9": lambda x: (reduce(add, x).abs() / len(x) ** 1.5 + magnitude(x)).sum(-1) - root_square(x),
}
# Every loss of a tuple with its baseline; losses that are equal to one of these are left out.
PLAIN_LOSSES: dict[str, PlainLoss] = {
    "einsum": mean_cross_entropy(product_lines),
    "loss5": mean_cross_entropy(gram_lines(loss5)),
    "loss6": mean_cross_entropy(gram_lines(loss6)),
    "norms": mean_cross_entropy(gram_lines(norms)),
    "normsv5": mean_cross_entropy(normsv5_lines),
    "gram": mean_cross_entropy(gram_volume_lines),
    **{name: mean_cross_entropy(feature_lines(formula)) for name, formula in FEATURE_FORMULAS.items()},
}


def clip(views: Views, scale: Tensor) -> Tensor:
    """Returns the loss of CLIP for the first two views: `stock`."""
    first, second = (normalize(view, dim=-1) for view in views[:2])
    logits = scale * first @ second.T
    matches = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, matches) + cross_entropy(logits.T, matches)) / 2


def clip_of_pairs(views: Views, scale: Tensor) -> Tensor:
    """Returns the mean of CLIP over pairs of views: `pairwise_clip`."""
    rows = [normalize(view, dim=-1) for view in views]
    matches = torch.arange(len(rows[0]), device=rows[0].device)
    pairs = [scale * first @ second.T for first, second in combinations(rows, 2)]
    total = reduce(add, [cross_entropy(logits, matches) + cross_entropy(logits.T, matches) for logits in pairs])
    return total / (2 * len(pairs))


def sigmoid_clip(views: Views, scale: Tensor, bias: float = -10.0) -> Tensor:
    """Returns the sigmoid loss for the first two views: `siglip`."""
    first, second = (normalize(view, dim=-1) for view in views[:2])
    logits = scale * first @ second.T + bias
    labels = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -torch.nn.functional.logsigmoid(labels * logits).sum() / len(logits)
