"""Draws the features of a run: their geometry, their drift between validations, and the similarity of layers (CKA).
Returns matplotlib figures, and shows or saves none.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from model.report.health_plots import Drawing
from model.report.plots import CYCLE, WIDTH, chart, curves_by_view, legend, lines
from model.report.run_files import Run, label

# A matrix with more cells than this is drawn without numbers.
MOST_NUMBERS = 100


def feature_pictures(run: Run) -> dict[str, Drawing]:
    """Returns file name without ending -> function that draws the picture."""
    by_view = partial(lines_by_view, run)
    geometry = run.analysis.get("geometry", {})
    return {
        "alignment": partial(alignment, run),
        "uniformity": partial(by_view, "geometry/uniformity/", title="Uniformity", ylabel="log mean exp(-2 d²)"),
        "effective_rank": partial(by_view, "geometry/effective_rank/", title="Effective rank", ylabel="dimensions"),
        "modality_gap": partial(
            by_view, "geometry/modality_gap/", title="Modality gap", ylabel="distance of the means", first=1
        ),
        **drift_pictures(run),
        **{f"alignment_{split}": partial(alignment_matrix, split, result) for split, result in geometry.items()},
        **{f"cka_{tower}": partial(cka, run, tower) for tower in ("image", "text")},
    }


def drift_pictures(run: Run) -> dict[str, Drawing]:
    """Returns the pictures of drift/<view>/<figure>."""
    labels = {
        "drift_cosine": ("/cosine_to_previous", "Drift between validations", "cosine to the previous features"),
        "drift_similarity": ("/mean_similarity", "Similarity of samples", "mean cosine (1: collapse)"),
        "drift_norm": ("/norm", "Feature norm", "mean norm"),
    }
    return {
        name: partial(lines_by_view, run, "drift/", suffix, title=title, ylabel=ylabel)
        for name, (suffix, title, ylabel) in labels.items()
    }


def lines_by_view(run: Run, prefix: str, suffix: str = "", *, title: str, ylabel: str, first: int = 0) -> Figure | None:
    """Draws a line for each view, from the columns `<prefix><view><suffix>`."""
    return lines(title, ylabel, curves_by_view(run, prefix, suffix), first=first)


def alignment(run: Run) -> Figure | None:
    """Draws the mean squared distance of matching features over validations: named lines for the pairs with the image,
    grey lines for the other pairs.
    """
    curves = {pair: curve for pair, curve in curves_by_view(run, "geometry/alignment/").items() if curve[0]}
    if not curves:
        return None
    figure, axes = chart("Alignment", "mean squared distance")
    others = {pair: curve for pair, curve in curves.items() if "image" not in pair.split("~")}
    for place, curve in enumerate(others.values()):
        axes.plot(*curve, color="#bbbbbb", linewidth=0.8, label=None if place else "other pairs")
    with_image = {pair: curve for pair, curve in curves.items() if pair not in others}
    for place, (pair, curve) in enumerate(with_image.items(), start=1):
        name = pair.replace("~", " to ")
        axes.plot(
            *curve,
            color=CYCLE[place % len(CYCLE)],
            linewidth=1.4,
            marker="o" if len(curve[0]) < 40 else None,
            markersize=3,
            label=name,
        )
    legend(axes)
    return figure


def alignment_matrix(split: str, geometry: dict[str, Any]) -> Figure | None:
    """Draws the mean squared distance of matching features for every pair of views, with the best weights."""
    pairs = [
        (*map(label, pair["views"]), pair["value"])
        for pair in geometry.get("alignment", [])
        if pair["value"] is not None
    ]
    if not pairs:
        return None
    views = list(dict.fromkeys(view for *both, _ in pairs for view in both))
    table = np.full((len(views), len(views)), np.nan)
    for view, other, value in pairs:
        table[views.index(view), views.index(other)] = table[views.index(other), views.index(view)] = value
    figure, axes = chart(f"Alignment of view pairs, {split}", "", "", height=1.3 + 0.34 * len(views))
    matrix(figure, table, "mean squared distance", (np.nanmin(table), np.nanmax(table)))
    axes.set_xticks(range(len(views)), views, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(views)), views, fontsize=8)
    return figure


def cka(run: Run, tower: str) -> Figure | None:
    """Draws the similarity of every layer of the trained tower to every layer of the reference."""
    table = run.cka.get(tower)
    if table is None or table.size == 0 or not np.isfinite(table).any():
        return None
    settings = run.analysis.get("cka", {})
    names = settings.get("layers", {}).get(tower, [])
    figure, axes = chart(
        f"CKA of the {tower} tower", "trained model", str(settings.get("reference", "reference")), height=WIDTH * 0.8
    )
    matrix(figure, table, "CKA", (0, 1))
    rows, columns = (names if len(names) == size else [str(place) for place in range(size)] for size in table.shape)
    axes.set_xticks(
        range(len(columns)),
        columns,
        rotation=40 if columns is names else 0,
        ha="right" if columns is names else "center",
        fontsize=8,
    )
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.invert_yaxis()
    return figure


def matrix(figure: Figure, table: np.ndarray, name: str, limits: tuple[float, float]) -> None:
    """Draws `table` as a map in the figure's axes, with a colour bar, and with numbers if there are not too many.

    name: the label of the colour bar. limits: the values of the first and the last colour.
    """
    (axes,) = figure.axes
    axes.grid(visible=False)
    axes.set_facecolor("#f2f2f2")
    image = axes.imshow(
        np.ma.masked_invalid(table),
        vmin=limits[0],
        vmax=limits[1],
        cmap="viridis",
        aspect="equal",
        interpolation="nearest",
    )
    figure.colorbar(image, ax=axes, label=name)
    if table.size <= MOST_NUMBERS:
        middle = sum(limits) / 2
        for (row, column), value in np.ndenumerate(table):
            if np.isfinite(value):
                axes.text(
                    column,
                    row,
                    f"{round(value, 2) + 0.0:.2f}",  # + 0.0: a rounded -0.0 becomes 0.0
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if value < middle else "black",
                )
