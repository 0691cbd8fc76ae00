"""How features move from one validation to the next, and whether they collapse. Shapes: n views, N samples, D
features.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from model.analysis.geometry import mean_similarity, unit


def drift_columns(views: Tensor, previous: Tensor | None, names: Sequence[str]) -> dict[str, float]:
    """Columns of metrics.csv from (n, N, D) views and those of the validation before: mean length, mean cosine of each
    sample to itself then (left out where there was none, or of other samples), mean cosine of two different samples (1:
    collapse).
    """
    columns = {}
    for i, name in enumerate(names):
        columns[f"drift/{name}/norm"] = views[i].double().norm(dim=-1).mean().item()
        columns[f"drift/{name}/mean_similarity"] = mean_similarity(unit(views[i]))
        if previous is not None and previous.shape == views.shape:
            columns[f"drift/{name}/cosine_to_previous"] = (
                F.cosine_similarity(views[i].double(), previous[i].double(), dim=-1).mean().item()
            )
    return columns
