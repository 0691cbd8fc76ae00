"""Draws the gradient health of a run from the rows of health.jsonl. Returns matplotlib figures, and shows or saves
none.
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

HealthRow = Mapping[str, Any]
"""A row of health.jsonl."""
Drawing = Callable[[], Figure | None]
"""A function that draws one picture; it returns None if the run has no data for it."""
HEALTHY, VANISHING, EXPLODING, NEUTRAL = "#3b7dd8", "#e0a030", "#c83c3c", "#555555"
# Patterns that distinguish the colours in grey print.
VANISHING_HATCH, EXPLODING_HATCH, NOT_FINITE_HATCH = "////", "xxxx", "xxxxx"
# The largest readable number of labels and of numbers beside bars, and the smallest share that is printed.
MOST_LABELS, MOST_NUMBERS, LEAST_NUMBER = 70, 15, 5e-4
# The smallest norm on a logarithmic axis.
FLOOR = 1e-12


def health_figures(run_dir: Path) -> dict[str, Figure]:
    """Draws all pictures for which the run in `run_dir` has data. Returns file name without ending -> figure."""
    figures = {name: draw() for name, draw in health_pictures(run_dir).items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def health_pictures(run_dir: Path) -> dict[str, Drawing]:
    """Returns file name without ending -> function that draws the picture of the run in `run_dir`."""
    rows = cache(lambda: read_history(run_dir / FILE))
    return {name: partial(lambda draw: draw(rows()), draw) for name, draw in PICTURES.items()}


def norm_over_steps(rows: Sequence[HealthRow]) -> Figure | None:
    """Draws the global gradient norm before clipping, the norm above which steps are clipped, and marks for clipped and
    skipped steps. If the run clips, a second panel shows the share of clipped steps since the previous row.
    """
    if not rows:
        return None
    clips = any(row["clip"] is not None for row in rows)
    figure = Figure(figsize=(9, 5.2 if clips else 4.2), layout="constrained")
    axes, *below = figure.subplots(2, sharex=True, height_ratios=(4, 1)) if clips else [figure.subplots()]
    finite = [row for row in rows if math.isfinite(row["norm"])]
    norms = [max(row["norm"], FLOOR) for row in finite]
    axes.plot([row["step"] for row in finite], norms, color=HEALTHY, linewidth=1.2, label="global norm")
    if clips:
        bounds = [math.nan if row["clip"] is None else row["clip"] for row in rows]
        axes.plot([row["step"] for row in rows], bounds, "--", color=NEUTRAL, linewidth=1, label="clipped above")
        draw_clipped_share(below[0], rows)
    mark_steps(axes, rows, finite)
    axes.set(ylabel="gradient norm", yscale="log" if finite else "linear", title="Gradient norm, before clipping")
    lowest = (below or [axes])[0]
    lowest.set_xlabel("optimizer step")
    lowest.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def mark_steps(axes: Axes, rows: Sequence[HealthRow], finite: Sequence[HealthRow]) -> None:
    """Marks clipped steps at their norm, and skipped steps at the lower edge. finite: the rows with a finite norm."""
    clipped = [row for row in finite if row["action"] == "clip"]
    steps, norms = [row["step"] for row in clipped], [row["norm"] for row in clipped]
    draw_marks(axes, steps, norms, "clipped", marker="v", color=VANISHING, markersize=5 if len(rows) < 200 else 3)
    edge = {"transform": axes.get_xaxis_transform(), "clip_on": False, "markersize": 7}
    for count, label, marker, color in (
        ("skipped", "skipped", "x", EXPLODING),
        ("scaler_skips", "skipped by the gradient scaler", "+", NEUTRAL),
    ):
        steps = [row["step"] for row in increases(rows, count)]
        draw_marks(axes, steps, [0.03] * len(steps), label, marker=marker, color=color, **edge)


def draw_marks(axes: Axes, x: Sequence[float], y: Sequence[float], label: str, **style: Any) -> None:
    """Draws points with an entry in the legend, if there are any."""
    if x:
        axes.plot(x, y, linestyle="none", label=label, **style)


def draw_clipped_share(axes: Axes, rows: Sequence[HealthRow]) -> None:
    """Draws, for each row, the share of steps that were clipped since the previous row."""
    edges = [0, *(row["step"] for row in rows)]
    counts = [0, *(row["clipped"] for row in rows)]
    spans = [max(1, after - before) for before, after in pairwise(edges)]
    shares = [(after - before) / span for (before, after), span in zip(pairwise(counts), spans, strict=True)]
    axes.fill_between(edges, [0, *shares], step="pre", color=VANISHING, linewidth=0)
    axes.set(ylim=(0, 1), yticks=(0, 0.5, 1), ylabel="share\nclipped")


def increases(rows: Sequence[HealthRow], count: str) -> list[HealthRow]:
    """Returns the rows in which a count is larger than in the previous row."""
    before = [0, *(row[count] for row in rows[:-1])]
    return [row for row, earlier in zip(rows, before, strict=True) if row[count] > earlier]


def norm_by_layer_and_step(rows: Sequence[HealthRow]) -> Figure | None:
    """Draws a map of the gradient norm: one line for each layer, one column for each row of health.jsonl, and colours
    on a logarithmic scale.
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


def gradient_flow(rows: Sequence[HealthRow]) -> Figure | None:
    """Draws the gradient norm of every layer in the last row in which all norms are finite, with the bounds of
    vanishing and exploding gradients.
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
    out_of_bounds = [place for place, norm in enumerate(norms) if not low <= norm <= high]
    for place in out_of_bounds:
        bars[place].set_facecolor(VANISHING if norms[place] < low else EXPLODING)
        if len(layers) <= MOST_LABELS:
            bars[place].set(hatch=VANISHING_HATCH if norms[place] < low else EXPLODING_HATCH, edgecolor="white")
    if low > 0:
        axes.axvline(low, color=VANISHING, linestyle=":", linewidth=1.8, label=f"vanishing below {low:g}")
    axes.axvline(high, color=EXPLODING, linestyle="--", linewidth=1.5, label=f"exploding above {high:g}")
    label_layers(axes, layers, out_of_bounds)
    right = 3 * max(high, *norms)
    axes.set(xscale="log", xlim=(left, right), xlabel="gradient norm", title=f"Gradient flow at step {row['step']:,}")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def near_zero_by_layer(rows: Sequence[HealthRow]) -> Figure | None:
    """Draws the share of activations near zero of every layer in the last row that has it. The largest shares are also
    printed.
    """
    row = next((row for row in reversed(rows) if row.get("near_zero")), None)
    if row is None:
        return None
    layers, shares = list(row["near_zero"]), list(row["near_zero"].values())
    figure, axes = canvas(9, height_for(layers))
    axes.barh(range(len(layers)), shares, height=bar_height(layers), color=HEALTHY)
    largest = sorted(range(len(shares)), key=lambda place: -shares[place])[:MOST_NUMBERS]
    labelled = label_layers(axes, layers, [place for place in largest if shares[place] >= LEAST_NUMBER])
    for place in set(labelled) & set(largest):
        if shares[place] >= LEAST_NUMBER:
            axes.text(shares[place] + 0.005, place, f"{shares[place]:.1%}", fontsize=6, verticalalignment="center")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlim=(0, 1.06), xticks=np.linspace(0, 1, 6), xlabel="share of activations near zero")
    axes.set_title(f"Activations near zero at step {row['step']:,}")
    return figure


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Returns an empty figure with one pair of axes. width, height: in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def height_for(layers: Sequence[str]) -> float:
    """Returns the height, in inches, of a picture with one labelled line for each layer."""
    return 1.5 + 0.17 * min(max(len(layers), 8), MOST_LABELS)


def bar_height(layers: Sequence[str]) -> float:
    """Returns the share of its line that a bar fills: the whole line if there are many layers."""
    return 0.8 if len(layers) <= MOST_LABELS else 1.0


def label_layers(axes: Axes, layers: Sequence[str], first: Sequence[int] = ()) -> list[int]:
    """Labels the lines from top to bottom and returns the places of the labels.

    first: if there are too many layers to label them all, these places are labelled before the others.
    """
    every = math.ceil(len(layers) / MOST_LABELS)
    places: list[int] = []
    for place in (*first, *range(0, len(layers), every)):
        if all(abs(place - other) >= every for other in places):
            places.append(place)
    axes.set_yticks(places, [layers[place] for place in places], fontsize=6)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    return places


PICTURES: dict[str, Callable[[Sequence[HealthRow]], Figure | None]] = {
    "gradient_norm": norm_over_steps,
    "gradient_heatmap": norm_by_layer_and_step,
    "gradient_flow": gradient_flow,
    "activations": near_zero_by_layer,
}
