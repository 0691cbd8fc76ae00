"""What views tell that no gradient does: tensors in, findings out. Shapes: n views, R rows (samples), T tokens, F
features, L lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from model.health.advice import Recommendation, listed, recommend
from model.views.towers import end_positions

# Rows that are looked at, at the most; of these the first are put on lines, in batches: the scores of a loss cost more
# than cosines.
ROWS, LINE_ROWS, LINE_BATCH = 256, 128, 64
# A mean cosine above this: a view says nearly the same of different texts or samples.
ALIKE = 0.99
# A mean cosine above this: two views say nearly the same of every sample.
EQUAL = 0.999
# In the first steps the views of a healthy run may draw together and then apart: on scenes in batches of 64 the mean
# cosine of plain CLIP's images was above 0.99 up to step 25, with `normsv5` up to step 45, and 0.9994 at most. At a
# validation in these steps only views that are equal up to rounding count, those above the second number, and no line
# is judged.
FIRST_STEPS, SAME = 200, 1 - 1e-6
# A median rank of this share of guessing's, or more, is at chance.
AT_CHANCE = 0.9
# Views, pairs or lines that a text names.
NAMED = 6


class Seen(NamedTuple):
    """What went through an encoder: captions (R, K, T) token ids, and views (n, R, F)."""

    captions: Tensor
    views: Tensor


@dataclass(frozen=True)
class Finding:
    """Something to say of some views, pairs of views (`a~b`) or lines."""

    kind: str
    """A key of the table of advice."""
    figures: dict[str, float]
    """View, pair or line -> what was measured."""

    def advice(self) -> Recommendation:
        """The same in words, the largest figures first."""
        ranked = sorted(self.figures.items(), key=lambda pair: -pair[1])
        return recommend(self.kind, views=listed([f"{figure:.4f} of {name}" for name, figure in ranked], NAMED))


def found(kind: str, figures: dict[str, float], above: float) -> list[Finding]:
    """One finding of the figures above a bound; none where there are none, NaN among them."""
    kept = {name: figure for name, figure in figures.items() if figure > above}
    return [Finding(kind, kept)] if kept else []


def blind_views(seen: Seen, names: Sequence[str], end: int) -> list[Finding]:
    """Views of texts that are nearly the same for different texts of one length (by the place of the token `end`, which
    a view may be read at).
    """
    figures = {}
    for name, view in zip(names, seen.views, strict=True):
        caption = caption_of(name)
        if caption is not None:
            figures[name] = mean_cosine(view, comparable(seen.captions[:, caption], end))
    return found("blind_view", figures, ALIKE)


def collapsed_views(views: Tensor, names: Sequence[str], above: float = ALIKE) -> list[Finding]:
    """Views (n, R, F) that are nearly the same for different samples: of a mean cosine above a bound."""
    others = ~torch.eye(views.shape[1], dtype=torch.bool)
    figures = {name: mean_cosine(view, others) for name, view in zip(names, views, strict=True)}
    return found("collapsed_view", figures, above)


def equal_views(seen: Seen, names: Sequence[str], above: float = EQUAL) -> list[Finding]:
    """Pairs of views that are nearly the same for every sample: of a mean cosine above a bound.

    A sample whose two captions are the same text does not count for views of these two.
    """
    rows, figures = unit(seen.views), {}
    for (a, one), (b, other) in combinations(enumerate(names), 2):
        cosines = (rows[a] * rows[b]).sum(dim=-1)
        figures[f"{one}~{other}"] = cosines[told_apart(seen.captions, caption_of(one), caption_of(other))].mean().item()
    return found("equal_views", figures, above)


def lines_at_chance(batches: Iterable[Tensor], names: Sequence[str]) -> list[Finding]:
    """Lines whose matches rank as if by guessing.

    batches: line scores (L, B, B), each of other samples, with the match on the diagonal; names: of the L lines.
    """
    ranks = torch.cat([relative_ranks(lines) for lines in batches], dim=1)
    figures = dict(zip(names, ranks.quantile(0.5, dim=1).tolist(), strict=True))
    return found("line_at_chance", figures, AT_CHANCE)


def relative_ranks(lines: Tensor) -> Tensor:
    """Line scores (L, B, B) [line, row, candidate] -> (L, B), float64: rank of the match over guessing's, (B + 1) / 2.
    Ties count half.
    """
    match = lines.diagonal(dim1=1, dim2=2).unsqueeze(2)
    ranks = (lines > match).sum(dim=2) + ((lines == match).sum(dim=2) + 1) / 2
    return ranks.double() / ((lines.shape[2] + 1) / 2)


def mean_cosine(view: Tensor, counted: Tensor) -> float:
    """Mean cosine of the pairs of rows of a view (R, F) for which `counted` (R, R) is true; NaN where there are
    none.
    """
    rows = unit(view)
    return ((rows @ rows.T * counted).sum() / counted.sum()).item()


def unit(features: Tensor) -> Tensor:
    """(…, F) rows scaled to length 1, float64. Rows of zeros, which have no direction, all get the same one."""
    features = features.double()
    lengths = features.norm(dim=-1, keepdim=True)
    return torch.where(lengths == 0, features.shape[-1] ** -0.5, features / lengths)


def comparable(tokens: Tensor, end: int) -> Tensor:
    """(R, T) tokens -> (R, R), true for pairs of different texts with the same number of tokens."""
    lengths, texts = end_positions(tokens, end), text_ids(tokens)
    return (lengths[:, None] == lengths) & (texts[:, None] != texts)


def text_ids(tokens: Tensor) -> Tensor:
    """(R, T) tokens -> (R,) numbers that are equal where all tokens are."""
    return torch.unique(tokens, dim=0, return_inverse=True)[1]


def told_apart(captions: Tensor, one: int | None, other: int | None) -> Tensor:
    """(R, K, T) captions -> (R,), true where views of captions `one` and `other` should differ: unless they were given
    the same text twice.

    The image (None), and two views that make different things of one caption, should differ for every sample.
    """
    if one is None or other is None or one == other:
        return torch.ones(len(captions), dtype=torch.bool)
    return (captions[:, one] != captions[:, other]).any(dim=-1)


def caption_of(name: str) -> int | None:
    """The caption, counted from 0, that a view is made from: 1 for `decoded_2`; None for the image."""
    number = name.rpartition("_")[2]
    return int(number) - 1 if number.isdecimal() else None
