"""Pictures of a run's gradient health: rows of health.jsonl -> Figure. matplotlib only; nothing is shown or saved
here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from model.record.health_jsonl import FILE, read_history

Row = Mapping[str, Any]
# A function that draws one picture; it returns None where the run has nothing to show.
Picture = Callable[[], Figure | None]
HEALTHY, VANISHING, EXPLODING, NEUTRAL = "#3b7dd8", "#e0a030", "#c83c3c", "#555555"
# Patterns that tell the colours apart in grey print.
VANISHING_HATCH, EXPLODING_HATCH, NOT_FINITE_HATCH = "////", "xxxx", "xxxxx"
# More labels, or numbers beside bars, than this cannot be read; nor can a share below the least number.
MOST_LABELS, MOST_NUMBERS, LEAST_NUMBER = 70, 15, 5e-4
# Smallest norm that a logarithmic axis shows.
FLOOR = 1e-12


def health_figures(run_dir: Path) -> dict[str, Figure]:
    """File name without ending -> picture, of everything that the run in `run_dir` has recorded; none where it recorded
    nothing.
    """
    drawn = {name: draw() for name, draw in health_pictures(run_dir).items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def health_pictures(run_dir: Path) -> dict[str, Picture]:
    """File name without ending -> function that draws the picture, for the run in `run_dir`."""
    rows = cache(lambda: read_history(run_dir / FILE))
    return {name: partial(lambda draw: draw(rows()), draw) for name, draw in PICTURES.items()}


def norm_over_steps(rows: Sequence[Row]) -> Figure | None:
    """The global gradient norm before clipping, the norm above which is clipped, and where steps were clipped or left
    out; where there is clipping, below it the share of steps that were clipped since the row before.
    """
    if not rows:
        return None
    clips = any(row["clip"] is not None for row in rows)
    figure = Figure(figsize=(9, 5.2 if clips else 4.2), layout="constrained")
    axes, *below = figure.subplots(2, sharex=True, height_ratios=(4, 1)) if clips else [figure.subplots()]
    shown = [row for row in rows if math.isfinite(row["norm"])]
    axes.plot(
        [row["step"] for row in shown],
        [max(row["norm"], FLOOR) for row in shown],
        color=HEALTHY,
        linewidth=1.2,
        label="global norm",
    )
    if clips:
        limits = [math.nan if row["clip"] is None else row["clip"] for row in rows]
        axes.plot(
            [row["step"] for row in rows], limits, color=NEUTRAL, linestyle="--", linewidth=1, label="clipped above"
        )
        draw_clipped_share(below[0], rows)
    marked = [row for row in shown if row["action"] == "clip"]
    size = 5 if len(rows) < 200 else 3
    draw_marks(
        axes,
        [row["step"] for row in marked],
        [row["norm"] for row in marked],
        "clipped",
        marker="v",
        color=VANISHING,
        markersize=size,
    )
    edge = {"transform": axes.get_xaxis_transform(), "clip_on": False, "markersize": 7}
    for count, label, marker, color in (
        ("skipped", "left out", "x", EXPLODING),
        ("scaler_skips", "dropped by the scaler", "+", NEUTRAL),
    ):
        lost = [row["step"] for row in increases(rows, count)]
        draw_marks(axes, lost, [0.03] * len(lost), label, marker=marker, color=color, **edge)
    axes.set(ylabel="gradient norm", yscale="log" if shown else "linear", title="Gradient norm, before clipping")
    lowest = (below or [axes])[0]
    lowest.set_xlabel("optimizer step")
    lowest.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def draw_marks(axes: Axes, x: Sequence[float], y: Sequence[float], label: str, **style: Any) -> None:
    """Points, and an entry in the legend, where there are any."""
    if x:
        axes.plot(x, y, linestyle="none", label=label, **style)


def draw_clipped_share(axes: Axes, rows: Sequence[Row]) -> None:
    """The share of clipped steps since the row before, as steps that end at each row."""
    edges = [0, *(row["step"] for row in rows)]
    counts = [0, *(row["clipped"] for row in rows)]
    spans = [max(1, after - before) for before, after in pairwise(edges)]
    shares = [(after - before) / span for (before, after), span in zip(pairwise(counts), spans, strict=True)]
    axes.fill_between(edges, [0, *shares], step="pre", color=VANISHING, linewidth=0)
    axes.set(ylim=(0, 1), yticks=(0, 0.5, 1), ylabel="share\nclipped")


def increases(rows: Sequence[Row], count: str) -> list[Row]:
    """The rows since whose predecessor a count has grown."""
    before = [0, *(row[count] for row in rows[:-1])]
    return [row for row, earlier in zip(rows, before, strict=True) if row[count] > earlier]


def norm_by_layer_and_step(rows: Sequence[Row]) -> Figure | None:
    """A map of the gradient norm: one line per layer, one column per row of the history, colour on a logarithmic
    scale.
    """
    layers = list(dict.fromkeys(layer for row in rows for layer in row["layers"]))
    if not layers:
        return None
    norms = np.array([[row["layers"].get(layer, math.nan) for row in rows] for layer in layers])
    norms = np.where(np.isfinite(norms), np.maximum(norms, FLOOR), math.nan)
    figure, axes = canvas(10, height_for(layers))
    finite = norms[np.isfinite(norms)]
    scale = LogNorm(finite.min(), max(finite.max(), 1.001 * finite.min())) if finite.size else LogNorm(FLOOR, 1)
    image = axes.imshow(np.ma.masked_invalid(norms), aspect="auto", norm=scale, cmap="viridis", interpolation="nearest")
    axes.patch.set(facecolor="white", edgecolor=EXPLODING, hatch=NOT_FINITE_HATCH, linewidth=0)
    label_layers(axes, layers)
    places = np.unique(np.linspace(0, len(rows) - 1, min(8, len(rows))).astype(int))
    axes.set_xticks(places, [f"{rows[place]['step']:,}" for place in places])
    hatched = "" if finite.size == norms.size else " (hatched: not finite, or no gradient)"
    axes.set(xlabel=f"optimizer step{hatched}", title="Gradient norm by layer and step")
    figure.colorbar(image, ax=axes, label="gradient norm")
    return figure


def gradient_flow(rows: Sequence[Row]) -> Figure | None:
    """The gradient norm layer by layer at the last row where all are finite, with the bounds of vanishing and
    exploding.
    """
    row = next(
        (row for row in reversed(rows) if row["layers"] and all(map(math.isfinite, row["layers"].values()))), None
    )
    if row is None:
        return None
    layers, norms = list(row["layers"]), list(row["layers"].values())
    figure, axes = canvas(9, height_for(layers))
    low, high = row["vanishing"], row["exploding"]
    least = min([norm for norm in norms if norm > 0] + [bound for bound in (low,) if bound > 0], default=FLOOR)
    left = max(FLOOR, least / 10)
    bars = axes.barh(range(len(layers)), [max(norm, left) for norm in norms], height=bar_height(layers), color=HEALTHY)
    ill = [place for place, norm in enumerate(norms) if not low <= norm <= high]
    for place in ill:
        bars[place].set_facecolor(VANISHING if norms[place] < low else EXPLODING)
        if len(layers) <= MOST_LABELS:
            bars[place].set(hatch=VANISHING_HATCH if norms[place] < low else EXPLODING_HATCH, edgecolor="white")
    if low > 0:
        axes.axvline(low, color=VANISHING, linestyle=":", linewidth=1.8, label=f"vanishing below {low:g}")
    axes.axvline(high, color=EXPLODING, linestyle="--", linewidth=1.5, label=f"exploding above {high:g}")
    label_layers(axes, layers, ill)
    right = 3 * max(high, *norms)
    axes.set(xscale="log", xlim=(left, right), xlabel="gradient norm", title=f"Gradient flow at step {row['step']:,}")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def near_zero_by_layer(rows: Sequence[Row]) -> Figure | None:
    """The share of activations near zero, layer by layer, at the last row that has them; the largest shares also in
    figures.
    """
    row = next((row for row in reversed(rows) if row.get("near_zero")), None)
    if row is None:
        return None
    layers, shares = list(row["near_zero"]), list(row["near_zero"].values())
    figure, axes = canvas(9, height_for(layers))
    axes.barh(range(len(layers)), shares, height=bar_height(layers), color=HEALTHY)
    largest = sorted(range(len(shares)), key=lambda place: -shares[place])[:MOST_NUMBERS]
    told = label_layers(axes, layers, [place for place in largest if shares[place] >= LEAST_NUMBER])
    for place in set(told) & set(largest):
        if shares[place] >= LEAST_NUMBER:
            axes.text(shares[place] + 0.005, place, f"{shares[place]:.1%}", fontsize=6, verticalalignment="center")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlim=(0, 1.06), xticks=np.linspace(0, 1, 6), xlabel="share of activations near zero")
    axes.set_title(f"Activations near zero at step {row['step']:,}")
    return figure


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty picture of so many inches, with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def height_for(layers: Sequence[str]) -> float:
    """Inches that so many labelled lines need."""
    return 1.5 + 0.17 * min(max(len(layers), 8), MOST_LABELS)


def bar_height(layers: Sequence[str]) -> float:
    """Share of its line that a bar fills: all of it where lines are thin."""
    return 0.8 if len(layers) <= MOST_LABELS else 1.0


def label_layers(axes: Axes, layers: Sequence[str], first: Sequence[int] = ()) -> list[int]:
    """Names the lines from top to bottom, those at the places `first` before others where there are more than can be
    read; returns which.
    """
    every = math.ceil(len(layers) / MOST_LABELS)
    places: list[int] = []
    for place in (*first, *range(0, len(layers), every)):
        if all(abs(place - other) >= every for other in places):
            places.append(place)
    axes.set_yticks(places, [layers[place] for place in places], fontsize=6)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    return places


PICTURES: dict[str, Callable[[Sequence[Row]], Figure | None]] = {
    "gradient_norm": norm_over_steps,
    "gradient_heatmap": norm_by_layer_and_step,
    "gradient_flow": gradient_flow,
    "activations": near_zero_by_layer,
}
