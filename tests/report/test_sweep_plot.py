"""The picture of a comparison: its values and labels, and that nothing is clipped or overlaps, for few and many
settings.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model.report.sweep_jobs import read_jobs
from model.report.sweep_plot import comparison_figure
from model.report.sweep_settings import compare_jobs
from tests.report.sweep_folder import T1, done, settings, write_job


def figure_of(sweep: Path) -> Figure:
    """Returns the figure after drawing it, so that the positions of its texts are known."""
    figure = comparison_figure(compare_jobs(read_jobs(sweep)))
    FigureCanvasAgg(figure).draw()
    return figure


def points(axes, marker: str) -> list[list[float]]:
    """Returns x of every line with that marker, from top to bottom."""
    return [list(line.get_xdata()) for line in axes.lines if line.get_marker() == marker]


@pytest.fixture
def three(tmp_path) -> Figure:
    """The figure of two settings with two seeds each, one with another size of validation, and a setting that
    failed.
    """
    for seed, recall in ((1, 0.2), (2, 0.4)):
        write_job(tmp_path, f"low{seed}", settings("low", seed), done(recall))
        write_job(tmp_path, f"high{seed}", settings("high", seed), done(recall + 0.3, samples={"val": 20, "test": 20}))
    write_job(tmp_path, "bad", settings("bad"), {"status": "failed", "reason": "x"})
    return figure_of(tmp_path)


def test_means_intervals_and_seeds_are_drawn_at_their_values(three):
    validation, test = three.axes
    assert points(validation, "D") == [[pytest.approx(0.6)], [pytest.approx(0.3)]]
    assert points(validation, "o") == [[0.5, 0.7], [0.2, 0.4]]
    half = T1 * 0.1
    assert points(validation, "|")[1] == pytest.approx([0.3 - half, 0.3 + half])
    assert points(test, "D") == [[0.5], [0.5]]


def test_settings_are_labelled_best_first_and_failures_last(three):
    labels = [label.get_text() for label in three.axes[0].get_yticklabels()]
    assert labels == ["high", "low", "bad (0 of 1 seeds)"]
    assert [text.get_text() for text in three.axes[0].texts] == ["no figures"]
    assert three.axes[0].get_ylabel() == "loss"


def test_chance_is_drawn_at_the_settings_that_have_it(three):
    lines = {
        line.get_xdata()[0]: tuple(line.get_ydata()) for line in three.axes[0].lines if line.get_linestyle() == ":"
    }
    assert lines == {1 / 20: (-0.5, 0.5), 1 / 50: (0.5, 1.5)}
    assert three.axes[0].get_title() == "chance 0.02 to 0.05 (dotted), ceiling 0.9 (dashed)"


def test_the_axis_of_recall_stays_within_0_and_1(three):
    low, high = three.axes[0].get_xlim()
    assert -0.03 < low < high < 1.03


@pytest.mark.parametrize("count", [1, 4, 40])
def test_nothing_is_clipped_and_no_labels_overlap(tmp_path, count):
    for place in range(count):
        for seed in (1, 2):
            write_job(
                tmp_path,
                f"{place}_{seed}",
                settings("normsv5", seed, lr=0.001 * (1 + place)),
                done(0.1 + 0.01 * place + 0.01 * seed),
            )
    figure = figure_of(tmp_path)
    renderer, canvas = figure.canvas.get_renderer(), figure.bbox
    texts = [
        text
        for axes in figure.axes
        for text in (*axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label, axes.title)
        if text.get_text()
    ]
    boxes = [text.get_window_extent(renderer) for text in texts] + [
        legend.get_window_extent(renderer) for legend in figure.legends
    ]
    assert [
        box for box in boxes if box.x0 < canvas.x0 or box.x1 > canvas.x1 or box.y0 < canvas.y0 or box.y1 > canvas.y1
    ] == []
    labels = [label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in pairwise(labels))
    assert len(points(figure.axes[0], "D")) == count
