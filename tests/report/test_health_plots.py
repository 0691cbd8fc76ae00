"""The pictures of gradient health show the data of their rows."""

from __future__ import annotations

import json
import math
import warnings
from itertools import pairwise

import numpy as np
import pytest

from model.report.health_plots import (
    gradient_flow,
    health_figures,
    near_zero_by_layer,
    norm_by_layer_and_step,
    norm_over_steps,
)


def row(
    step: int,
    norm: float,
    action: str = "step",
    clipped: int = 0,
    skipped: int = 0,
    scaler_skips: int = 0,
    **layers: float,
) -> dict:
    """A line of health.jsonl."""
    counts = {"clipped": clipped, "skipped": skipped, "scaler_skips": scaler_skips}
    limits = {"clip": 2.0, "vanishing": 1e-7, "exploding": 100.0}
    return {"step": step, "norm": norm, "action": action, **counts, **limits, "layers": layers}


ROWS = [
    row(10, 1.0, a=1.0, b=1e-9),
    row(20, 3.0, "clip", clipped=4, a=2.0, b=500.0),
    row(23, math.nan, "skip", clipped=4, skipped=1, a=math.nan, b=1.0),
    row(30, 1.5, clipped=5, skipped=1, a=0.5, b=1e-8),
]


def points(axes, label: str) -> tuple[list, list]:
    """Returns the points of the line with this label."""
    line = next(line for line in axes.get_lines() if line.get_label() == label)
    return list(line.get_xdata()), list(line.get_ydata())


def test_norm_with_its_clip_line_and_marks():
    axes, share = norm_over_steps(ROWS).axes
    assert points(axes, "global norm") == ([10, 20, 30], [1.0, 3.0, 1.5])
    assert points(axes, "clipped above") == ([10, 20, 23, 30], [2.0] * 4)
    assert points(axes, "clipped") == ([20], [3.0])
    assert points(axes, "skipped")[0] == [23]
    assert axes.get_yscale() == "log"
    assert share.get_xlabel() == "optimizer step"
    heights = {(int(x), round(float(y), 6)) for x, y in share.collections[0].get_paths()[0].vertices}
    assert {(10, 0.4), (20, 0.4), (23, round(1 / 7, 6)), (30, round(1 / 7, 6))} <= heights, (
        "4 of steps 11 to 20, 1 of steps 24 to 30"
    )


def test_norm_of_a_run_that_does_not_clip_is_one_picture_without_a_clip_line():
    rows = [*ROWS, row(40, math.inf, "back_off", clipped=5, skipped=1, scaler_skips=1)]
    (axes,) = norm_over_steps([line | {"clip": None, "action": "step"} for line in rows]).axes
    assert axes.get_legend_handles_labels()[1] == ["global norm", "skipped", "skipped by the gradient scaler"]
    assert points(axes, "skipped by the gradient scaler")[0] == [40]


def test_heatmap_has_a_line_per_layer_and_a_column_per_row():
    axes, bar = norm_by_layer_and_step(ROWS).axes
    shown = axes.get_images()[0].get_array()
    np.testing.assert_allclose(shown.filled(-1), [[1.0, 2.0, -1, 0.5], [1e-9, 500.0, 1.0, 1e-8]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert bar.get_yscale() == "log"


def test_flow_colours_by_the_bounds_that_it_draws():
    (axes,) = gradient_flow(ROWS).axes
    assert [bar.get_width() for bar in axes.patches] == [0.5, 1e-8]
    assert axes.patches[0].get_facecolor() != axes.patches[1].get_facecolor()
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [1e-7, 100.0]
    assert [bool(bar.get_hatch()) for bar in axes.patches] == [False, True], "distinguishable without colour too"
    (last_finite,) = gradient_flow(ROWS[:3]).axes
    assert last_finite.get_title().endswith("step 20")


def test_activations_are_drawn_where_they_were_measured():
    assert near_zero_by_layer(ROWS) is None
    (axes,) = near_zero_by_layer([ROWS[0] | {"near_zero": {"a": 0.25, "b": 1.0}}, ROWS[1]]).axes
    assert [bar.get_width() for bar in axes.patches] == [0.25, 1.0]
    assert [text.get_text() for text in axes.texts] == ["25.0%", "100.0%"]


def test_of_many_layers_those_out_of_bounds_are_labelled():
    layers = {f"layer/{number}": 1.0 for number in range(398)} | {"layer/100": 1e-9, "layer/251": 1e3}
    figure = gradient_flow([row(10, 1.0, **layers)])
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert {"layer/0", "layer/100", "layer/251"} <= set(labels)
    assert len(labels) <= 70
    figure.canvas.draw()
    boxes = sorted((label.get_window_extent() for label in axes.get_yticklabels()), key=lambda box: box.y0)
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in pairwise(boxes)), "no label overlaps another"


@pytest.mark.parametrize(
    "rows", [ROWS, ROWS[2:3], [row(1, 0.0, a=0.0)], [row(1, math.inf)]], ids=["run", "only_bad", "zero", "no_layers"]
)
def test_pictures_of_any_run_can_be_drawn(tmp_path, rows):
    text = {math.inf: "inf"}
    lines = [
        json.dumps({k: text.get(v, v) if isinstance(v, float) else v for k, v in row.items()}).replace("NaN", '"nan"')
        for row in rows
    ]
    (tmp_path / "health.jsonl").write_text("\n".join(lines) + "\n")
    figures = health_figures(tmp_path)
    assert "gradient_norm" in figures
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, figure in figures.items():
            figure.savefig(tmp_path / f"{name}.png", dpi=40)


def test_a_run_without_a_history_has_no_pictures(tmp_path):
    assert health_figures(tmp_path) == {}
