"""Draws the training of a run from the rows of metrics.csv. Returns matplotlib figures, and shows or saves none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from model.metric_names import KS
from model.report.health_plots import Drawing, canvas
from model.report.run_files import Run, column_parts, label, series

# Colours that readers with colour blindness can distinguish (Okabe and Ito 2008). CYCLE: the colours of lines, in
# order.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7a7a7a"
CYCLE = ("#222222", BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", RED, "#8a6d00", "#6a51a3", "#8c564b")
Curve = tuple[Sequence[float], Sequence[float]]
"""Steps and values."""
BY_K = {1: BLUE, 5: ORANGE, 10: GREEN}
# In inches. Text stays readable on a page as narrow as a phone.
WIDTH, HEIGHT = 4.6, 3.2
# In characters: the width of a legend, and the width of the line before a name with the space around it.
LEGEND, HANDLE = 69, 5
# The label of a horizontal axis of optimizer steps, which are whole numbers.
STEPS = "optimizer step"
# The smallest range of the logit scale's axis, as a share of the value.
LEAST_SPAN = 0.2


def training_pictures(run: Run) -> dict[str, Drawing]:
    """Returns file name without ending -> function that draws the picture."""
    return {
        "loss": partial(loss, run),
        "recall": partial(recall, run),
        "logit_scale": partial(logit_scale, run),
        "learning_rate": partial(learning_rate, run),
        "gradient_towers": partial(gradient_norms, run, "tower"),
        "gradient_views": partial(gradient_norms, run, "view"),
    }


def loss(run: Run) -> Figure | None:
    """Draws training and validation loss, with a cross at each skipped step."""
    train, val = series(run.metrics, "train/loss"), series(run.metrics, "val/loss")
    if not train[0] and not val[0]:
        return None
    figure, axes = chart("Loss", "loss, in nats")
    if train[0]:
        axes.plot(*train, color=BLUE, linewidth=1.3, label="training")
    if val[0]:
        axes.plot(*val, color=RED, linewidth=1.6, marker="o", markersize=4, label="validation")
    mark_skipped(run, axes)
    legend(axes)
    return figure


def recall(run: Run) -> Figure | None:
    """Draws the recall between image and caption 1 at every validation, with chance and, if recall comes near it, the
    ceiling.
    """
    curves = {k: series(run.metrics, f"val/recall@{k}") for k in KS}
    measured = [k for k in KS if curves[k][0]]
    if not measured:
        return None
    figure, axes = chart("Recall at validations", "recall@k")
    highest = max(max(curves[k][1]) for k in measured)
    samples = run.summary.get("samples", {}).get("val") or run.setting("data.val_size")
    ceiling = run.summary.get("ceiling", {}).get("val", {})
    for k in measured:
        axes.plot(*curves[k], color=BY_K[k], linewidth=1.6, marker="o", markersize=4, label=f"recall@{k}")
        if samples:
            axes.axhline(min(1.0, k / samples), color=BY_K[k], linewidth=1, linestyle=":")
        if ceiling.get(f"recall@{k}") and highest > 0.5 * ceiling[f"recall@{k}"]:
            axes.axhline(ceiling[f"recall@{k}"], color=BY_K[k], linewidth=1, linestyle="--")
    for name, style in (("chance", ":"), ("ceiling", "--")):
        if any(line.get_linestyle() == style for line in axes.get_lines()):
            axes.plot([], [], style, color=GREY, linewidth=1, label=name)
    axes.set_ylim(bottom=0, top=1.04 if highest > 0.5 else 1.15 * highest or None)
    legend(axes)
    return figure


def logit_scale(run: Run) -> Figure | None:
    """Draws the logit scale, by which the logits are multiplied."""
    figure = lines("Logit scale", "multiplier of the logits", {"": series(run.metrics, "train/logit_scale")}, run)
    if figure:
        axes = figure.axes[0]
        low, high = axes.get_ylim()
        middle = (low + high) / 2
        if high - low < LEAST_SPAN * middle:  # a tiny change must not look like a large one
            axes.set_ylim(middle * (1 - LEAST_SPAN / 2), middle * (1 + LEAST_SPAN / 2))
    return figure


def learning_rate(run: Run) -> Figure | None:
    """Draws the learning rate, or that of each tower where they differ (optimizer.lr_scale)."""
    curves = {tower: series(run.metrics, f"train/lr_{tower}") for tower in column_parts(run.metrics, "train/lr_")}
    figure = lines("Learning rate", "learning rate", curves or {"": series(run.metrics, "train/lr")}, run)
    if figure:
        figure.axes[0].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        figure.axes[0].set_ylim(bottom=0)
    return figure


def gradient_norms(run: Run, part: str) -> Figure | None:
    """Draws the norm of the gradient of each tower, or of the gradient with respect to each view. part: `tower` or
    `view`.
    """
    curves = curves_by_view(run, f"grad_{part}/", "/norm")
    figure = lines(f"Gradient norm by {part}", "gradient norm", curves, run)
    if figure and all(value > 0 for _, values in curves.values() for value in values):
        figure.axes[0].set_yscale("log")
    return figure


def lines(
    title: str, ylabel: str, curves: Mapping[str, Curve], run: Run | None = None, first: int = 0
) -> Figure | None:
    """Draws a line for each curve that has points; returns None if there is none.

    run: marks the skipped steps of this run. first: the index in CYCLE of the first colour.
    """
    drawn = {name: curve for name, curve in curves.items() if curve[0]}
    if not drawn:
        return None
    figure, axes = chart(title, ylabel)
    for place, (name, curve) in enumerate(drawn.items(), start=first):
        colour = CYCLE[place % len(CYCLE)] if len(curves) > 1 else BLUE
        axes.plot(
            *curve,
            color=colour,
            linewidth=1.4,
            marker="o" if len(curve[0]) < 40 else None,
            markersize=3,
            label=name or None,
        )
    if run:
        mark_skipped(run, axes)
    legend(axes)
    return figure


def curves_by_view(run: Run, prefix: str, suffix: str = "") -> dict[str, Curve]:
    """Returns view -> its curve, from the columns `<prefix><view><suffix>`."""
    return {
        label(view): series(run.metrics, f"{prefix}{view}{suffix}")
        for view in column_parts(run.metrics, prefix, suffix)
    }


def chart(title: str, ylabel: str, xlabel: str = STEPS, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """Returns an empty figure in the style of the report. height: in inches."""
    figure, axes = canvas(WIDTH, height)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    if xlabel == STEPS:
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def legend(axes: Axes) -> None:
    """Puts the names of the lines below the axes: in one row if they fit, and otherwise in three columns or fewer."""
    handles, names = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    if names and figure is not None:
        widest = max(map(len, names)) + HANDLE
        columns = next((count for count in (3, 2) if count * widest <= LEGEND), 1)
        figure.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=len(names) if sum(len(name) + HANDLE for name in names) <= LEGEND else columns,
            fontsize=8,
            frameon=False,
            columnspacing=1.2,
            handlelength=1.6,
        )


@contextmanager
def missing_glyphs_ignored() -> Iterator[None]:
    """Suppresses matplotlib's warnings about characters that the font lacks. The picture shows them as boxes; the page
    shows the captions as text.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def mark_skipped(run: Run, axes: Axes) -> None:
    """Draws a cross at the lower edge for each skipped step."""
    steps = [row["step"] for row in run.metrics if row.get("grad/skipped", 0) > 0]
    if steps:
        axes.plot(
            steps,
            [0.02] * len(steps),
            "x",
            color=RED,
            transform=axes.get_xaxis_transform(),
            label="skipped step",
            clip_on=False,
        )
