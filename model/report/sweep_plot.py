"""Picture of a sweep: one line a setting, its seeds as small rings, their mean with its interval. matplotlib only;
nothing is shown or saved here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from model.report.sweep_jobs import ceiling, chance
from model.report.sweep_settings import Comparison, Row, shown

PANELS = ("test/recall@1", "test/joint_recall@1")
# Dark, middle and light in print too.
MEAN, SEED, BOUND, FAINT = "#12355b", "#6b8fb5", "#8a8a8a", "#e6e6e6"
LINE_HEIGHT, MARGIN, PANEL_WIDTH, LETTER_WIDTH = 0.28, 1.5, 2.9, 0.075
# Seeds stand so far under their mean, in lines: else it would hide them.
BELOW = 0.24
# Bounds further away than this many times the highest value would squeeze the values; they are then only told.
FARTHEST = 1.6
# An axis shows at least this much, so that equal values do not look different.
LEAST_SPAN = 0.02


def comparison_figure(comparison: Comparison) -> Figure:
    """Best setting at the top. Settings without figures stand at the bottom, in words."""
    rows = comparison.rows
    panels = [metric for metric in dict.fromkeys((comparison.objective, *PANELS)) if metric in comparison.metrics] or [
        comparison.objective
    ]
    labels = [row_label(row) for row in rows]
    width = 0.7 + LETTER_WIDTH * max(map(len, labels)) + PANEL_WIDTH * len(panels)
    figure = Figure(figsize=(max(width, 5.0), MARGIN + LINE_HEIGHT * len(labels)), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, metric in zip(all_axes, panels, strict=True):
        draw_panel(axes, rows, metric)
    first = all_axes[0]
    first.set_yticks(range(len(labels)), labels, fontsize=8)
    first.set_ylim(len(labels) - 0.4, -0.6)
    first.set_ylabel(" · ".join(comparison.keys), fontsize=9)
    figure.suptitle("Recall by setting", fontsize=10)
    figure.legend(handles=legend_marks(rows), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def row_label(row: Row) -> str:
    """The setting's values; how many of its seeds have figures where some have none."""
    named = " · ".join(shown(value) for value in row.setting) or "all jobs"
    return named if len(row.ended) == len(row.jobs) else f"{named} ({len(row.ended)} of {len(row.jobs)} seeds)"


def legend_marks(rows: Sequence[Row]) -> list[Line2D]:
    """What the marks mean; one seed has no interval."""
    mean = Line2D([], [], color=MEAN, marker="D", linestyle="none", markersize=4.5, label="mean over seeds")
    if all(len(row.ended) < 2 for row in rows):
        return [mean]
    interval = Line2D([], [], color=MEAN, marker="|", linewidth=1.4, markersize=7, label="95 % t-interval of the mean")
    return [
        mean,
        interval,
        Line2D(
            [], [], linestyle="none", marker="o", markersize=3.5, markerfacecolor="none", color=SEED, label="one seed"
        ),
    ]


def draw_panel(axes: Axes, rows: Sequence[Row], metric: str) -> None:
    """One figure of all settings."""
    axes.hlines(range(len(rows)), 0, 1, color=FAINT, linewidth=0.6, transform=axes.get_yaxis_transform(), zorder=0)
    for place, row in enumerate(rows):
        draw_row(axes, place, row, metric)
    values = [value for row in rows for value in row.values(metric)]
    if values:
        bounds = [
            draw_bound(axes, rows, metric, of, style, FARTHEST * max(values))
            for of, style in ((chance, "dotted"), (ceiling, "dashed"))
        ]
        axes.set_title(", ".join(filter(None, bounds)), fontsize=8, color="#555555")
        axes.set_xlim(*limits(rows, metric, *axes.get_xlim()))
    axes.set_xlabel(f"{metric} (fraction)", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_row(axes: Axes, place: int, row: Row, metric: str) -> None:
    """Seeds, interval, mean."""
    interval, values = row.interval(metric), row.values(metric)
    if interval is None:
        axes.text(
            0.02,
            place,
            "no figures",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=7,
            style="italic",
            color=BOUND,
        )
        return
    if interval.low is not None and interval.high is not None:
        axes.plot(
            values,
            [place + BELOW] * len(values),
            "o",
            markersize=3.5,
            markerfacecolor="none",
            markeredgecolor=SEED,
            zorder=3,
        )
        axes.plot(
            [interval.low, interval.high], [place, place], "|-", color=MEAN, linewidth=1.4, markersize=7, zorder=2
        )
    axes.plot([interval.mean], [place], "D", color=MEAN, markersize=4.5, zorder=4)


def draw_bound(axes: Axes, rows: Sequence[Row], metric: str, of: Callable, style: str, farthest: float) -> str | None:
    """Chance or ceiling, a line along the settings that share it; what to say of it. Only told where it is too far
    away.
    """
    known = {place: row.one(of, metric) for place, row in enumerate(rows)}
    bounds = {place: value for place, value in known.items() if value is not None}
    if not bounds:
        return None
    low, high = min(bounds.values()), max(bounds.values())
    told = f"{of.__name__} {low:.3g}" if high - low < 1e-9 else f"{of.__name__} {low:.3g} to {high:.3g}"
    if high > farthest:
        return f"{told} (off the axis)"
    for value in dict.fromkeys(bounds.values()):
        places = [place for place, bound in bounds.items() if bound == value]
        axes.plot(
            [value, value],
            [min(places) - 0.5, max(places) + 0.5],
            linestyle=style,
            color=BOUND,
            linewidth=1.2,
            zorder=1,
        )
    return f"{told} ({style})"


def limits(rows: Sequence[Row], metric: str, low: float, high: float) -> tuple[float, float]:
    """What of [0, 1] to show: from 0, or where all values are close together, them. `low`, `high`: what matplotlib
    would show.
    """
    values = [value for row in rows for value in row.values(metric)]
    right = min(1.02, max(high, max(values) + LEAST_SPAN / 2))
    if min(values) < max(values) / 2:
        return -0.02 * right, right
    return max(0.0, min(low, min(values) - LEAST_SPAN / 2)), right
