"""Finds problems of views that no gradient shows: tensors in, findings out. Shapes: n views, R rows (samples), K
captions, T tokens, F features, L lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from model.health.advice import Recommendation, join_names, recommend
from model.views.positions import end_positions

# The number of rows that are examined, at most. Lines are scored for the first LINE_ROWS of them only, in batches of at
# most LINE_BATCH: the scores of a loss cost more than cosines.
ROWS, LINE_ROWS, LINE_BATCH = 256, 128, 64
# A view whose mean cosine is above this is nearly the same for different texts or samples.
ALIKE_COSINE = 0.99
# Two views whose mean cosine is above this are nearly the same for every sample.
EQUAL_COSINE = 0.999
# In the first steps the views of a healthy run may approach one another and then separate. With data=scenes in batches
# of 64, the mean cosine of plain CLIP's images was above 0.99 up to step 25, with `normsv5` up to step 45, and always
# below 0.9995. A validation before step FIRST_STEPS reports only views with a mean cosine above IDENTICAL_COSINE, which
# are equal up to rounding, and examines no line.
FIRST_STEPS, IDENTICAL_COSINE = 200, 1 - 1e-6
# A line is at chance if its relative median rank is above this; 1 is the rank of a random candidate.
AT_CHANCE = 0.9
# The number of views, pairs or lines that a message names, at most.
MAX_NAMES = 6


class ViewSample(NamedTuple):
    """Inputs and outputs of an encoder: captions (R, K, T) as token ids, and views (n, R, F)."""

    captions: Tensor
    views: Tensor


@dataclass(frozen=True)
class Finding:
    """A problem of some views, pairs of views (`a~b`) or lines."""

    kind: str
    """A key of the table of advice."""
    figures: dict[str, float]
    """The measured figure of each view, pair or line."""

    def advice(self) -> Recommendation:
        """Returns the finding in words, the largest figures first."""
        ranked = sorted(self.figures.items(), key=lambda pair: -pair[1])
        return recommend(self.kind, views=join_names([f"{figure:.4f} of {name}" for name, figure in ranked], MAX_NAMES))


def findings_above(kind: str, figures: dict[str, float], bound: float) -> list[Finding]:
    """Returns one finding with the figures above `bound`, or none where no figure is. NaN is not above it."""
    above = {name: figure for name, figure in figures.items() if figure > bound}
    return [Finding(kind, above)] if above else []


def blind_views(sample: ViewSample, names: Sequence[str], end: int) -> list[Finding]:
    """Finds views of texts that are nearly the same for different texts of one length.

    end: the token that ends a text. A view may be read at its position, so only texts of one length are compared.
    """
    figures = {}
    for name, view in zip(names, sample.views, strict=True):
        caption = caption_of(name)
        if caption is not None:
            figures[name] = mean_cosine(view, comparable_pairs(sample.captions[:, caption], end))
    return findings_above("blind_view", figures, ALIKE_COSINE)


def collapsed_views(views: Tensor, names: Sequence[str], bound: float = ALIKE_COSINE) -> list[Finding]:
    """Finds views (n, R, F) that are nearly the same for different samples: their mean cosine is above `bound`."""
    other_rows = ~torch.eye(views.shape[1], dtype=torch.bool)
    figures = {name: mean_cosine(view, other_rows) for name, view in zip(names, views, strict=True)}
    return findings_above("collapsed_view", figures, bound)


def equal_views(sample: ViewSample, names: Sequence[str], bound: float = EQUAL_COSINE) -> list[Finding]:
    """Finds pairs of views that are nearly the same for every sample: their mean cosine is above `bound`.

    A sample whose two captions are the same text does not count for the views of these two captions.
    """
    rows, figures = unit_rows(sample.views), {}
    for (a, first), (b, second) in combinations(enumerate(names), 2):
        cosines = (rows[a] * rows[b]).sum(dim=-1)
        counted = different_texts(sample.captions, caption_of(first), caption_of(second))
        figures[f"{first}~{second}"] = cosines[counted].mean().item()
    return findings_above("equal_views", figures, bound)


def lines_at_chance(batches: Iterable[Tensor], names: Sequence[str]) -> list[Finding]:
    """Finds lines whose matches rank no better than a random candidate.

    batches: line scores (L, B, B) of different samples, with the matches on the diagonal. names: of the L lines.
    """
    ranks = torch.cat([relative_ranks(lines) for lines in batches], dim=1)
    figures = dict(zip(names, ranks.quantile(0.5, dim=1).tolist(), strict=True))
    return findings_above("line_at_chance", figures, AT_CHANCE)


def relative_ranks(lines: Tensor) -> Tensor:
    """Returns (L, B) float64: the rank of each match divided by the rank of a random candidate, (B + 1) / 2.

    lines: scores (L, B, B), indexed [line, row, candidate]. A tie counts half.
    """
    match = lines.diagonal(dim1=1, dim2=2).unsqueeze(2)
    ranks = (lines > match).sum(dim=2) + ((lines == match).sum(dim=2) + 1) / 2
    return ranks.double() / ((lines.shape[2] + 1) / 2)


def mean_cosine(view: Tensor, pairs: Tensor) -> float:
    """Returns the mean cosine of the pairs of rows of a view (R, F) for which `pairs` (R, R) is true; NaN without
    pairs.
    """
    rows = unit_rows(view)
    return ((rows @ rows.T * pairs).sum() / pairs.sum()).item()


def unit_rows(features: Tensor) -> Tensor:
    """Returns (…, F) rows scaled to length 1, in float64. Rows of zeros, which have no direction, all get the same
    one.
    """
    features = features.double()
    lengths = features.norm(dim=-1, keepdim=True)
    return torch.where(lengths == 0, features.shape[-1] ** -0.5, features / lengths)


def comparable_pairs(tokens: Tensor, end: int) -> Tensor:
    """Returns (R, R), true for pairs of different texts with the same number of tokens. tokens: (R, T)."""
    lengths, texts = end_positions(tokens, end), text_ids(tokens)
    return (lengths[:, None] == lengths) & (texts[:, None] != texts)


def text_ids(tokens: Tensor) -> Tensor:
    """Returns (R,) numbers that are equal where all tokens of two rows are. tokens: (R, T)."""
    return torch.unique(tokens, dim=0, return_inverse=True)[1]


def different_texts(captions: Tensor, first: int | None, second: int | None) -> Tensor:
    """Returns (R,), true where views of the captions `first` and `second` should differ: the two texts are different.

    captions: (R, K, T). The image (None) and a caption should differ for every sample, and so should two views that are
    computed from one caption in different ways.
    """
    if first is None or second is None or first == second:
        return torch.ones(len(captions), dtype=torch.bool)
    return (captions[:, first] != captions[:, second]).any(dim=-1)


def caption_of(name: str) -> int | None:
    """Returns the caption of a view, counted from 0: 1 for `decoded_2`, None for the image."""
    number = name.rpartition("_")[2]
    return int(number) - 1 if number.isdecimal() else None
