"""Evaluates the losses independently: one tuple at a time, in plain float64 torch. Imports nothing from model.losses.

A new score is one line in SCORES, or in MATRICES for scores (B, B) per direction.
Shapes: n views, B rows, F features; `t` is a stack of tuples (…, n, F).
"""

from itertools import product

import torch

EPS = 1e-8


def root(x):
    """Returns sqrt(x) with slope 0 at 0."""
    return torch.where(x > 0, torch.where(x > 0, x, 1.0).sqrt(), 0.0)


def length(x):
    """Returns the norm of the last dimension, which stays with size 1. The largest entry is divided out first."""
    top = x.detach().abs().amax(-1, keepdim=True)
    top = torch.where(top > 0, top, 1.0)
    return top * root((x / top).square().sum(-1, keepdim=True))


def unit(x, eps=EPS):
    return torch.where(x.detach().abs().amax(-1, keepdim=True) > 0, x / (length(x) + eps), x.detach())


def norm(x):
    return length(x).squeeze(-1)


def variance(t):
    """Returns V = Q - S^2/n for each feature, from differences to the first view."""
    d = t - t[..., :1, :]
    return d.square().sum(-2) - d.sum(-2).square() / t.shape[-2]


def along_rest(t):
    rest = t.sum(-2, keepdim=True) - t
    return ((t * rest).sum(-1) / (norm(rest) + EPS)).sum(-1)


def along_sum(t):
    total = t.sum(-2, keepdim=True)
    return (t * total).sum(-1) / (norm(total) + EPS)


def magnitude(t):
    return t.abs().mean(-2)


SCORES = {
    "einsum": lambda t: t.prod(-2).sum(-1),
    "loss1": lambda t: 1 - root(variance(t).abs()).mean(-1),
    "loss2": lambda t: 1 - root(variance(t)).mean(-1),
    "loss3": lambda t: 1 - root(variance(t).square().sum(-1)),
    "loss4": lambda t: 1 - root(t.square().sum(-2)).sum(-1),
    "loss5": lambda t: 1 - variance(t).sum(-1),
    "loss6": lambda t: 1 - root(variance(t).sum(-1)),
    "loss7": lambda t: 1 - variance(t).abs().sum(-1),
    "loss8": lambda t: (1 - variance(t)).sum(-1),
    "norms": lambda t: norm(t.sum(-2)).square() / (norm(t.sum(-2)) + EPS),
    "normsv2": lambda t: t.sum(-2).square().sum(-1) / (norm(t.sum(-2)) + EPS),
    "normsv3": lambda t: norm(t.sum(-2)) / t.shape[-2] + EPS,
    "normsv4": lambda t: along_sum(t).sum(-1),
    "normsv5": along_rest,
    "normsv6": lambda t: (magnitude(t) * (1 - t.shape[-2] ** 0.5) + root(t.square().sum(-2))).sum(-1),
    "normsv7": lambda t: (magnitude(t) * (1 + t.shape[-2] ** 0.5) - root(t.square().sum(-2))).sum(-1),
    "normsv8": lambda t: (t.mean(-2) - magnitude(t) ** t.shape[-2] / 2).sum(-1),
    "normsv9": lambda t: (t.sum(-2).abs() / t.shape[-2] ** 1.5 + magnitude(t) - root(t.square().sum(-2))).sum(-1),
    "gram": lambda t: (
        -(torch.linalg.det(t @ t.transpose(-1, -2) + 1e-6 * torch.eye(t.shape[-2], dtype=t.dtype))).clamp(min=0).sqrt()
    ),
    "stable_einsum": lambda t: t.prod(-2).sum(-1).clamp(-100, 100),
    "stable_norm": lambda t: along_sum(t).clamp(-1, 1).sum(-1),
}


def power(x, exponent):
    """Returns |x|^exponent with slope 0 at 0."""
    return torch.where(x != 0, torch.where(x != 0, x, 1.0).abs() ** exponent, 0.0)


def first_and_rest(x):
    n = len(x)
    first = sum(x[0] @ x[k].T for k in range(1, n)) / (2 * (n - 1))
    rest = sum(x[k] @ x[j].T for k in range(1, n) for j in range(n) if j != k) / (2 * (n - 1) ** 2)
    return [first, rest]


def cosine_to_mean(x):
    mean = x.mean(0)
    dots = x @ (mean / (norm(mean).unsqueeze(-1) + EPS)).T
    score = power(dots.prod(0), 1 / len(x))
    return [score, score.T]


def distance_to_mean(x):
    score = -(((x.unsqueeze(2) - x.mean(0)).square().sum(-1) + EPS).sqrt()).mean(0)
    return [score, score.T]


# Directions of a loss with scores (B, B): a list of (B, B), candidates along the last axis. x: (n, B, F), normalised.
MATRICES = {
    "base": lambda x: [x[0] @ x[1].T],
    "stock": lambda x: [x[0] @ x[1].T, x[1] @ x[0].T],
    "siglip": lambda x: [x[0] @ x[1].T, x[1] @ x[0].T],
    "normsvc": first_and_rest,
    "pairwise": lambda x: [x[j] @ x[i].T for i, j in product(range(len(x)), repeat=2)],
    "pairwise_clip": lambda x: [x[i] @ x[j].T for i, j in product(range(len(x)), repeat=2) if i != j],
    "stable_cosine": cosine_to_mean,
    "stable_distance": distance_to_mean,
}
TWO_VIEWS = ("base", "stock", "siglip")
# Losses that draw their candidates, which only their own tests can repeat.
RANDOM = ("symile",)


def rows_of(views, normalize=True):
    x = views.double()
    return unit(x) if normalize else x


def dense(name, views, normalize=True):
    """Returns the scores (B,)*n of all tuples."""
    x = rows_of(views, normalize)
    n, size, _ = x.shape
    index = torch.cartesian_prod(*[torch.arange(size)] * n)
    tuples = torch.stack([x[k][index[:, k]] for k in range(n)], dim=-2)
    return SCORES[name](tuples).reshape((size,) * n)


def lines(name, views, normalize=True):
    """Returns the line scores (D, B, B), computed row by row."""
    x = rows_of(views, normalize)
    if name in MATRICES:
        return torch.stack(MATRICES[name](x))
    n, size, _ = x.shape
    out = []
    for a in range(n):
        tuples = x.transpose(0, 1).unsqueeze(1).expand(size, size, n, -1).clone()  # [i, c]: row i of every view
        tuples[:, :, a] = x[a]
        out.append(SCORES[name](tuples))
    return torch.stack(out)


def line_loss(name, views, scale, weights=None, normalize=True):
    """Returns the mean over rows of the cross-entropy along lines, softplus(logsumexp of the others - match), summed
    over directions with `weights`.
    """
    logits = lines(name, views, normalize) * scale
    if name == "siglip":
        z = 2 * torch.eye(logits.shape[1]) - 1
        return torch.nn.functional.softplus(-z * (logits[0] - 10), threshold=100).sum() / logits.shape[1]
    count, size, _ = logits.shape
    match = logits.diagonal(dim1=1, dim2=2)
    if size == 1:
        return 0 * logits.sum()
    others = logits.masked_fill(torch.eye(size, dtype=torch.bool), -torch.inf).logsumexp(2)
    gap = others - match
    loss = torch.where(gap > 0, gap, 0) + torch.log1p(torch.exp(-gap.abs()))
    weights = [1 / count] * count if weights is None else weights
    return sum(weight * row for weight, row in zip(weights, loss.mean(1), strict=True))


def class_values(n, size):
    """Returns the class of every tuple, (B,)*n: the sum over its distinct indices of count^4."""
    values = [sum(cell.count(index) ** 4 for index in set(cell)) for cell in product(range(size), repeat=n)]
    return torch.tensor(values).reshape((size,) * n)


def axis_weights(axes, n):
    return [1 / n] * n if axes == "all" else [1.0 if a == 1 else 1 / (n - 1) for a in range(n)]


def soft_targets(name, size, features, n, seed, normalize=True):
    batch = torch.randn(size, features, generator=torch.Generator().manual_seed(seed))
    return dense(name, batch.expand(n, -1, -1), normalize).softmax(1)


def dense_loss(name, views, scale, axes="all", weights=None, targets=None, normalize=True):
    """Returns the sum over all tuples of -targets * log_softmax, summed over axes with their weights.

    weights: (B,)*n factors of logits and targets.
    """
    scores = dense(name, views, normalize)
    n, size = scores.dim(), len(scores)
    if targets is None:
        targets = torch.zeros_like(scores)
        targets[(torch.arange(size),) * n] = 1
    weights = torch.ones_like(scores) if weights is None else weights
    logits = scale * scores * weights
    return sum(-w * (targets * weights * logits.log_softmax(a)).sum() for a, w in enumerate(axis_weights(axes, n)))
