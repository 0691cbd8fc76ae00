"""Pictures of a run's features: how they lie, how they move, which layers changed. matplotlib only; nothing is shown or
saved here.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from model.report.health_plots import Picture
from model.report.plots import CYCLE, WIDTH, by_view, chart, legend, lines
from model.report.run_files import Run, label

# A matrix with more cells than this is shown without its numbers.
MOST_NUMBERS = 100


def feature_pictures(run: Run) -> dict[str, Picture]:
    """File name without ending -> function that draws the picture."""
    return {
        "alignment": partial(alignment, run),
        "uniformity": partial(
            lines_by_view, run, "geometry/uniformity/", title="Uniformity", ylabel="log mean exp(-2 d²)"
        ),
        "effective_rank": partial(
            lines_by_view, run, "geometry/effective_rank/", title="Effective rank", ylabel="dimensions"
        ),
        "modality_gap": partial(
            lines_by_view, run, "geometry/modality_gap/", title="Modality gap", ylabel="distance of the means", first=1
        ),
        "drift_cosine": partial(
            lines_by_view,
            run,
            "drift/",
            "/cosine_to_previous",
            title="Movement between validations",
            ylabel="cosine to the previous one",
        ),
        "drift_similarity": partial(
            lines_by_view,
            run,
            "drift/",
            "/mean_similarity",
            title="Similarity of samples",
            ylabel="mean cosine (1: collapse)",
        ),
        "drift_norm": partial(lines_by_view, run, "drift/", "/norm", title="Feature length", ylabel="mean length"),
        **{
            f"alignment_{split}": partial(alignment_matrix, split, found)
            for split, found in run.analysis.get("geometry", {}).items()
        },
        **{f"cka_{tower}": partial(cka, run, tower) for tower in ("image", "text")},
    }


def lines_by_view(run: Run, prefix: str, suffix: str = "", *, title: str, ylabel: str, first: int = 0) -> Figure | None:
    """A line for every view, of the columns `<prefix><view><suffix>`."""
    return lines(title, ylabel, by_view(run, prefix, suffix), first=first)


def alignment(run: Run) -> Figure | None:
    """Mean squared distance of matching features over validations: image to every caption by name, the other pairs in
    grey.
    """
    curves = {pair: curve for pair, curve in by_view(run, "geometry/alignment/").items() if curve[0]}
    if not curves:
        return None
    figure, axes = chart("Alignment", "mean squared distance")
    others = {pair: curve for pair, curve in curves.items() if "image" not in pair.split("~")}
    for place, curve in enumerate(others.values()):
        axes.plot(*curve, color="#bbbbbb", linewidth=0.8, label=None if place else "two captions")
    named = {pair: curve for pair, curve in curves.items() if pair not in others}
    for place, (pair, curve) in enumerate(named.items(), start=1):
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


def alignment_matrix(split: str, found: dict) -> Figure | None:
    """Mean squared distance of matching features, by the best weights, for every two views."""
    pairs = [
        (*map(label, pair["views"]), pair["value"]) for pair in found.get("alignment", []) if pair["value"] is not None
    ]
    if not pairs:
        return None
    views = list(dict.fromkeys(view for *both, _ in pairs for view in both))
    table = np.full((len(views), len(views)), np.nan)
    for one, other, value in pairs:
        table[views.index(one), views.index(other)] = table[views.index(other), views.index(one)] = value
    figure, axes = chart(f"Alignment of every two views, {split}", "", "", height=1.3 + 0.34 * len(views))
    matrix(figure, table, "mean squared distance", (np.nanmin(table), np.nanmax(table)))
    axes.set_xticks(range(len(views)), views, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(views)), views, fontsize=8)
    return figure


def cka(run: Run, tower: str) -> Figure | None:
    """Similarity of every layer of the trained tower to every layer of the reference."""
    table = run.cka.get(tower)
    if table is None or table.size == 0 or not np.isfinite(table).any():
        return None
    told = run.analysis.get("cka", {})
    names = told.get("layers", {}).get(tower, [])
    figure, axes = chart(
        f"CKA of the {tower} tower", "trained model", str(told.get("reference", "reference")), height=WIDTH * 0.8
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
    """`table` as a map in the picture's axes, with its numbers where they can be read, and a bar that explains the
    colours.
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
                    f"{value:.2f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if value < middle else "black",
                )
