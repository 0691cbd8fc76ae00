"""Draws a sweep: one line for each setting, with its seeds as small rings and their mean with its interval. Returns
matplotlib figures, and shows or saves none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from model.report.sweep_jobs import Job, ceiling, chance
from model.report.sweep_settings import Comparison, Setting, as_cell

PANELS = ("test/recall@1", "test/joint_recall@1")
# Colours that differ in brightness, so that grey print shows the difference.
MEAN, SEED, BOUND, FAINT = "#12355b", "#6b8fb5", "#8a8a8a", "#e6e6e6"
# In inches.
LINE_HEIGHT, MARGIN, PANEL_WIDTH, LETTER_WIDTH = 0.28, 1.5, 2.9, 0.075
# The distance of the seeds below their mean, as a share of the line height. The mean does not hide them there.
BELOW = 0.24
# A bound above this multiple of the highest value is only named in the title: a line would compress the values.
FARTHEST = 1.6
# The smallest range of an axis, so that nearly equal values do not look different.
LEAST_SPAN = 0.02


def comparison_figure(comparison: Comparison) -> Figure:
    """Draws the comparison with the best setting at the top. Settings without figures are at the bottom, as text."""
    settings = comparison.settings
    panels = [metric for metric in dict.fromkeys((comparison.objective, *PANELS)) if metric in comparison.metrics] or [
        comparison.objective
    ]
    labels = [setting_label(setting) for setting in settings]
    width = 0.7 + LETTER_WIDTH * max(map(len, labels)) + PANEL_WIDTH * len(panels)
    figure = Figure(figsize=(max(width, 5.0), MARGIN + LINE_HEIGHT * len(labels)), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, metric in zip(all_axes, panels, strict=True):
        draw_panel(axes, settings, metric)
    first = all_axes[0]
    first.set_yticks(range(len(labels)), labels, fontsize=8)
    first.set_ylim(len(labels) - 0.4, -0.6)
    first.set_ylabel(" · ".join(comparison.keys), fontsize=9)
    title = "Recall" if all("recall" in metric for metric in panels) else "Recall and swap accuracy"
    figure.suptitle(f"{title} by setting", fontsize=10)
    figure.legend(handles=legend_marks(settings), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def setting_label(setting: Setting) -> str:
    """Returns the setting's values; if some seeds have no figures, also how many have."""
    values = " · ".join(as_cell(value) for value in setting.values) or "all jobs"
    ended, total = len(setting.ended_jobs), len(setting.jobs)
    return values if ended == total else f"{values} ({ended} of {total} seeds)"


def legend_marks(settings: Sequence[Setting]) -> list[Line2D]:
    """Returns the entries of the legend. If every setting has a single seed, there is no interval."""
    single = all(len(setting.ended_jobs) < 2 for setting in settings)
    label = "the only seed" if single else "mean over seeds"
    mean = Line2D([], [], color=MEAN, marker="D", linestyle="none", markersize=4.5, label=label)
    if single:
        return [mean]
    interval = Line2D([], [], color=MEAN, marker="|", linewidth=1.4, markersize=7, label="95 % t-interval of the mean")
    return [
        mean,
        interval,
        Line2D(
            [], [], linestyle="none", marker="o", markersize=3.5, markerfacecolor="none", color=SEED, label="one seed"
        ),
    ]


def draw_panel(axes: Axes, settings: Sequence[Setting], metric: str) -> None:
    """Draws one figure of all settings."""
    axes.hlines(range(len(settings)), 0, 1, color=FAINT, linewidth=0.6, transform=axes.get_yaxis_transform(), zorder=0)
    for place, setting in enumerate(settings):
        draw_setting(axes, place, setting, metric)
    values = [value for setting in settings for value in setting.by_seed(metric)]
    if values:
        bounds = [
            draw_bound(axes, settings, metric, bound, style, FARTHEST * max(values))
            for bound, style in ((chance, "dotted"), (ceiling, "dashed"))
        ]
        axes.set_title(", ".join(filter(None, bounds)), fontsize=8, color="#555555")
        axes.set_xlim(*limits(settings, metric, *axes.get_xlim()))
    axes.set_xlabel(f"{metric} (fraction)", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_setting(axes: Axes, place: int, setting: Setting, metric: str) -> None:
    """Draws the seeds, the interval and the mean of a setting."""
    interval, values = setting.interval(metric), setting.by_seed(metric)
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


def draw_bound(
    axes: Axes,
    settings: Sequence[Setting],
    metric: str,
    bound: Callable[[Job, str], float | None],
    style: str,
    farthest: float,
) -> str | None:
    """Draws chance or ceiling as a line along the settings that share it, unless it is above `farthest`. Returns its
    description for the title; None if it is not known.
    """
    known = {place: setting.mean_bound(bound, metric) for place, setting in enumerate(settings)}
    bounds = {place: value for place, value in known.items() if value is not None}
    if not bounds:
        return None
    low, high = min(bounds.values()), max(bounds.values())
    text = f"{bound.__name__} {low:.3g}" if high - low < 1e-9 else f"{bound.__name__} {low:.3g} to {high:.3g}"
    if high > farthest:
        return f"{text} (off the axis)"
    for value in dict.fromkeys(bounds.values()):
        places = [place for place, other in bounds.items() if other == value]
        axes.plot(
            [value, value],
            [min(places) - 0.5, max(places) + 0.5],
            linestyle=style,
            color=BOUND,
            linewidth=1.2,
            zorder=1,
        )
    return f"{text} ({style})"


def limits(settings: Sequence[Setting], metric: str, low: float, high: float) -> tuple[float, float]:
    """Returns the limits of the axis within [0, 1]: from 0, or only the values if all are close together.

    low, high: the limits that matplotlib chooses.
    """
    values = [value for setting in settings for value in setting.by_seed(metric)]
    right = min(1.02, max(high, max(values) + LEAST_SPAN / 2))
    if min(values) < max(values) / 2:
        return -0.02 * right, right
    return max(0.0, min(low, min(values) - LEAST_SPAN / 2)), right
