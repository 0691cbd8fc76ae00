"""Pictures of a run's gradient health: rows of health.jsonl -> Figure. matplotlib only; nothing is shown or saved here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from model.health.history import FILE, read_history

Row = Mapping[str, Any]
HEALTHY, VANISHING, EXPLODING, NEUTRAL = "#3b7dd8", "#e0a030", "#c83c3c", "#777777"
# More labels than this cannot be read.
MOST_LABELS = 60
# Smallest norm that a logarithmic axis shows.
FLOOR = 1e-12


def health_figures(run_dir: Path) -> dict[str, Figure]:
    """File name without ending -> picture, of everything that the run in `run_dir` has recorded; none where it recorded nothing."""
    rows = read_history(run_dir / FILE)
    drawn = {name: draw(rows) for name, draw in PICTURES.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def norm_over_steps(rows: Sequence[Row]) -> Figure | None:
    """The global gradient norm before clipping, the norm above which is clipped, and where steps were clipped or left out."""
    if not rows:
        return None
    figure, axes = canvas(9, 4.5)
    shown = [row for row in rows if math.isfinite(row["norm"])]
    axes.plot([row["step"] for row in shown], [max(row["norm"], FLOOR) for row in shown], color=HEALTHY, linewidth=1.2, label="global norm")
    if any(row["clip"] is not None for row in rows):
        limits = [math.nan if row["clip"] is None else row["clip"] for row in rows]
        axes.plot([row["step"] for row in rows], limits, color=NEUTRAL, linestyle="--", linewidth=1, label="clipped above")
    clipped = [row for row in increases(rows, "clipped") if math.isfinite(row["norm"])]
    axes.plot([row["step"] for row in clipped], [row["norm"] for row in clipped], "v", color=VANISHING, markersize=4, label="clipped")
    lost = [row["step"] for row in (*increases(rows, "skipped"), *increases(rows, "scaler_skips"))]
    axes.plot(lost, [0.02] * len(lost), "x", color=EXPLODING, transform=axes.get_xaxis_transform(), label="left out", clip_on=False)
    axes.set(xlabel="optimizer step", ylabel="gradient norm", yscale="log" if shown else "linear", title="Gradient norm, before clipping")
    axes.legend(loc="upper right", fontsize=8)
    return figure


def increases(rows: Sequence[Row], count: str) -> list[Row]:
    """The rows since whose predecessor a count has grown."""
    before = [0, *(row[count] for row in rows[:-1])]
    return [row for row, earlier in zip(rows, before, strict=True) if row[count] > earlier]


def norm_by_layer_and_step(rows: Sequence[Row]) -> Figure | None:
    """A map of the gradient norm: one line per layer, one column per row of the history, colour on a logarithmic scale."""
    layers = list(dict.fromkeys(layer for row in rows for layer in row["layers"]))
    if not layers:
        return None
    norms = np.array([[row["layers"].get(layer, math.nan) for row in rows] for layer in layers])
    norms = np.where(np.isfinite(norms), np.maximum(norms, FLOOR), math.nan)
    figure, axes = canvas(10, height_for(layers))
    finite = norms[np.isfinite(norms)]
    scale = LogNorm(finite.min(), max(finite.max(), 1.001 * finite.min())) if finite.size else LogNorm(FLOOR, 1)
    image = axes.imshow(np.ma.masked_invalid(norms), aspect="auto", norm=scale, cmap="viridis", interpolation="nearest")
    axes.set_facecolor(EXPLODING)
    label_layers(axes, layers)
    places = np.unique(np.linspace(0, len(rows) - 1, min(8, len(rows))).astype(int))
    axes.set_xticks(places, [str(rows[place]["step"]) for place in places])
    axes.set(xlabel="optimizer step (red: not finite)", title="Gradient norm by layer and step")
    figure.colorbar(image, ax=axes, label="gradient norm")
    return figure


def gradient_flow(rows: Sequence[Row]) -> Figure | None:
    """The gradient norm layer by layer at the last row where all are finite, with the bounds of vanishing and exploding."""
    row = next((row for row in reversed(rows) if row["layers"] and all(map(math.isfinite, row["layers"].values()))), None)
    if row is None:
        return None
    layers, norms = list(row["layers"]), list(row["layers"].values())
    figure, axes = canvas(9, height_for(layers))
    low, high = row["vanishing"], row["exploding"]
    colours = [VANISHING if norm < low else EXPLODING if norm > high else HEALTHY for norm in norms]
    left = min(FLOOR, low) if low > 0 else FLOOR
    axes.barh(range(len(layers)), [max(norm, left) for norm in norms], color=colours)
    axes.axvline(max(low, left), color=VANISHING, linestyle="--", label=f"vanishing below {low:g}")
    axes.axvline(high, color=EXPLODING, linestyle="--", label=f"exploding above {high:g}")
    label_layers(axes, layers)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set(xscale="log", xlabel="gradient norm", title=f"Gradient flow at step {row['step']}")
    axes.legend(loc="lower right", fontsize=8)
    return figure


def near_zero_by_layer(rows: Sequence[Row]) -> Figure | None:
    """The share of activations near zero, layer by layer, at the last row that has them."""
    row = next((row for row in reversed(rows) if row.get("near_zero")), None)
    if row is None:
        return None
    layers = list(row["near_zero"])
    figure, axes = canvas(9, height_for(layers))
    axes.barh(range(len(layers)), list(row["near_zero"].values()), color=HEALTHY)
    label_layers(axes, layers)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set(xlim=(0, 1), xlabel="share of activations near zero", title=f"Activations near zero at step {row['step']}")
    return figure


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty picture of so many inches, with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def height_for(layers: Sequence[str]) -> float:
    """Inches that so many labelled lines need."""
    return 1.5 + 0.18 * min(max(len(layers), 8), MOST_LABELS)


def label_layers(axes: Axes, layers: Sequence[str]) -> None:
    """Names the lines, every so many where there are more than can be read."""
    every = math.ceil(len(layers) / MOST_LABELS)
    places = range(0, len(layers), every)
    axes.set_yticks(places, [layers[place] for place in places], fontsize=6)


PICTURES: dict[str, Callable[[Sequence[Row]], Figure | None]] = {
    "gradient_norm": norm_over_steps,
    "gradient_heatmap": norm_by_layer_and_step,
    "gradient_flow": gradient_flow,
    "activations": near_zero_by_layer,
}
