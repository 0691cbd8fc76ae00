"""Pictures of a run's training: rows of metrics.csv -> Figure. matplotlib only; nothing is shown or saved here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.metric_names import KS
from model.report.health_plots import Picture, canvas
from model.report.run_files import Run, label, members, series

# Colours that stay apart for everyone (Okabe and Ito 2008), those of lines in their order.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7a7a7a"
CYCLE = ("#222222", BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", RED, "#8a6d00", "#6a51a3", "#8c564b")
Curve = tuple[Sequence[float], Sequence[float]]
BY_K = {1: BLUE, 5: ORANGE, 10: GREEN}
# Inches. Text stays readable where the page is as narrow as a phone.
WIDTH, HEIGHT = 4.6, 3.2
# The axis of the logit scale covers at least this share of its value.
LEAST_SPAN = 0.2


def training_pictures(run: Run) -> dict[str, Picture]:
    """File name without ending -> function that draws the picture."""
    return {
        "loss": partial(loss, run),
        "recall": partial(recall, run),
        "logit_scale": partial(logit_scale, run),
        "learning_rate": partial(learning_rate, run),
        "gradient_towers": partial(gradient_norms, run, "tower"),
        "gradient_views": partial(gradient_norms, run, "view"),
    }


def loss(run: Run) -> Figure | None:
    """Training and validation loss; a cross where a step was left out."""
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
    """Recall between image and caption 1 at every validation, with chance and, where it is near, the ceiling."""
    curves = {k: series(run.metrics, f"val/recall@{k}") for k in KS}
    shown = [k for k in KS if curves[k][0]]
    if not shown:
        return None
    figure, axes = chart("Recall over validation", "recall@k")
    highest = max(max(curves[k][1]) for k in shown)
    samples = run.summary.get("samples", {}).get("val") or run.setting("data.val_size")
    ceiling = run.summary.get("ceiling", {}).get("val", {})
    for k in shown:
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
    """What logits are multiplied by."""
    figure = lines("Logit scale", "multiplier of the logits", {"": series(run.metrics, "train/logit_scale")}, run)
    if figure:
        axes = figure.axes[0]
        low, high = axes.get_ylim()
        middle = (low + high) / 2
        if high - low < LEAST_SPAN * middle:  # a change of a thousandth must not look like a fall
            axes.set_ylim(middle * (1 - LEAST_SPAN / 2), middle * (1 + LEAST_SPAN / 2))
    return figure


def learning_rate(run: Run) -> Figure | None:
    """The optimizer's rate."""
    figure = lines("Learning rate", "learning rate", {"": series(run.metrics, "train/lr")}, run)
    if figure:
        figure.axes[0].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        figure.axes[0].set_ylim(bottom=0)
    return figure


def gradient_norms(run: Run, part: str) -> Figure | None:
    """The gradient's norm by tower of the model, or that of the loss by view."""
    curves = by_view(run, f"grad_{part}/", "/norm")
    figure = lines(f"Gradient norm by {part}", "gradient norm", curves, run)
    if figure and all(value > 0 for _, values in curves.values() for value in values):
        figure.axes[0].set_yscale("log")
    return figure


def lines(
    title: str, ylabel: str, curves: Mapping[str, Curve], run: Run | None = None, first: int = 0
) -> Figure | None:
    """A line per curve that has points; None where none has. With `run`, its skipped steps are marked; `first`: where
    in CYCLE the colours start.
    """
    shown = {name: curve for name, curve in curves.items() if curve[0]}
    if not shown:
        return None
    figure, axes = chart(title, ylabel)
    for place, (name, curve) in enumerate(shown.items(), start=first):
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


def by_view(run: Run, prefix: str, suffix: str = "") -> dict[str, Curve]:
    """View -> its curve, of the columns `<prefix><view><suffix>`."""
    return {
        label(view): series(run.metrics, f"{prefix}{view}{suffix}") for view in members(run.metrics, prefix, suffix)
    }


def chart(title: str, ylabel: str, xlabel: str = "optimizer step", height: float = HEIGHT) -> tuple[Figure, Axes]:
    """An empty picture in the report's style."""
    figure, axes = canvas(WIDTH, height)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def legend(axes: Axes) -> None:
    """Names of the lines below the picture, where they have any: in one row where there is room, else in three
    columns.
    """
    handles, names = axes.get_legend_handles_labels()
    if names:
        columns = len(names) if sum(len(name) + 5 for name in names) < 68 else 3
        style = {"fontsize": 8, "frameon": False, "columnspacing": 1.2, "handlelength": 1.6}
        axes.figure.legend(handles, names, loc="outside lower center", ncols=columns, **style)


@contextmanager
def missing_glyphs_ignored() -> Iterator[None]:
    """Inside the block, matplotlib does not warn of characters that the font lacks. A picture shows them as boxes; the
    page has captions as text.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def mark_skipped(run: Run, axes: Axes) -> None:
    """A cross at the foot of the picture for every step that was left out."""
    steps = [row["step"] for row in run.metrics if row.get("grad/skipped", 0) > 0]
    if steps:
        axes.plot(
            steps,
            [0.02] * len(steps),
            "x",
            color=RED,
            transform=axes.get_xaxis_transform(),
            label="step left out",
            clip_on=False,
        )
