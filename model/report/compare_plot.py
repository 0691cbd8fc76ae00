"""Picture of a sweep: one line a setting, its seeds as small rings, their mean with its interval. matplotlib only; nothing is shown or saved here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from model.report.jobs import Job, ceiling, chance
from model.report.summary import OBJECTIVE

if TYPE_CHECKING:
    from model.report.compare import Comparison, Row

PANELS = (OBJECTIVE, "test/recall@1")
# Dark, middle and light in print too.
MEAN, SEED, BOUND, FAINT = "#12355b", "#6b8fb5", "#8a8a8a", "#e6e6e6"
LINE_HEIGHT, MARGIN, PANEL_WIDTH, LABEL_INCHES = 0.3, 1.35, 3.1, 0.085
# A ceiling further away than this many times the highest value would squeeze the values; it is then only told.
FARTHEST = 1.6


def comparison_figure(comparison: Comparison) -> Figure:
    """Best setting at the top. Settings without figures stand at the bottom, in words."""
    panels = [metric for metric in PANELS if metric in comparison.metrics] or [OBJECTIVE]
    labels = [row_label(row) for row in comparison.rows]
    width = 0.8 + LABEL_INCHES * max(map(len, labels)) + PANEL_WIDTH * len(panels)
    figure = Figure(figsize=(max(width, 5.5), MARGIN + LINE_HEIGHT * len(labels)), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, metric in zip(all_axes, panels, strict=True):
        draw_panel(axes, comparison, metric)
    first = all_axes[0]
    first.set_yticks(range(len(labels)), labels, fontsize=8)
    first.set_ylim(len(labels) - 0.4, -0.6)
    first.set_ylabel(" · ".join(comparison.keys))
    figure.suptitle("Recall by setting: mean and 95 % interval over seeds", fontsize=10)
    return figure


def row_label(row: Row) -> str:
    """The setting's values; how many of its seeds have figures where some have none."""
    from model.report.compare import shown

    named = " · ".join(shown(value) for value in row.setting) or "all jobs"
    return named if len(row.ended) == len(row.jobs) else f"{named} ({len(row.ended)} of {len(row.jobs)})"


def draw_panel(axes: Axes, comparison: Comparison, metric: str) -> None:
    """One figure of all settings."""
    rows = comparison.rows
    axes.hlines(range(len(rows)), 0, 1, color=FAINT, linewidth=0.6, transform=axes.get_yaxis_transform(), zorder=0)
    for place, row in enumerate(rows):
        draw_row(axes, place, row, metric)
    values = [value for row in rows for value in row.values(metric)]
    if values:
        draw_bound(axes, rows, metric, chance, ":", max(values))
        draw_bound(axes, rows, metric, ceiling, "--", max(values))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.42 / (LINE_HEIGHT * len(rows))), ncols=2, fontsize=7, frameon=False)
    axes.set_xlabel(f"{metric} (fraction)", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_row(axes: Axes, place: int, row: Row, metric: str) -> None:
    """Seeds, interval, mean; each kind is named in the legend once."""
    interval, values = row.interval(metric), row.values(metric)
    if interval is None:
        axes.text(0.02, place, "no figures", transform=axes.get_yaxis_transform(), va="center", fontsize=7, style="italic", color=BOUND)
        return
    if len(values) > 1:
        (rings,) = axes.plot(values, [place] * len(values), "o", markersize=4.5, markerfacecolor="none", markeredgecolor=SEED, zorder=3)
        name_once(axes, rings, "one seed")
    if interval.low is not None and interval.high is not None:
        (line,) = axes.plot([interval.low, interval.high], [place, place], "|-", color=MEAN, linewidth=1.4, markersize=7, zorder=2)
        name_once(axes, line, "95 % t-interval")
    (mark,) = axes.plot([interval.mean], [place], "D", color=MEAN, markersize=4.5, zorder=4)
    name_once(axes, mark, "mean")


def draw_bound(axes: Axes, rows: tuple[Row, ...], metric: str, of: Callable[[Job, str], float | None], style: str, highest: float) -> None:
    """Chance or ceiling: a line through all settings where it is one value, else a piece a setting; only told where it is far away."""
    known = {place: row.one(of, metric) for place, row in enumerate(rows)}
    bounds = {place: value for place, value in known.items() if value is not None}
    if not bounds:
        return
    low, high = min(bounds.values()), max(bounds.values())
    figures = f"{low:.3g}" if high - low < 1e-9 else f"{low:.3g} to {high:.3g}"
    if high > FARTHEST * highest:
        axes.plot([], [], style, color=BOUND, label=f"{of.__name__} {figures}, beyond the axis")
        return
    for place, value in bounds.items():
        (line,) = axes.plot([value, value], [place - 0.5, place + 0.5], style, color=BOUND, linewidth=1.2, zorder=1)
        name_once(axes, line, f"{of.__name__} {figures}")


def name_once(axes: Axes, line, label: str) -> None:
    """A legend entry for the first of its kind."""
    if label not in axes.get_legend_handles_labels()[1]:
        line.set_label(label)
