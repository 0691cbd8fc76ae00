"""A picture of the report is laid out once, and drawn once, as matplotlib itself would draw it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from model.report.pictures import RESOLUTION, WIDE_RESOLUTION, as_png


def figure(width: float) -> Figure:
    """A figure with what moves in a layout: two panels, a colour bar, long labels, and a legend outside the axes."""
    made = Figure(figsize=(width, 3.2), layout="constrained")
    above, below = made.subplots(2, height_ratios=(3, 1))
    above.plot([1, 2, 3], [1e-5, 2e3, 4], label="a line with a name")
    above.set(title="Title", yscale="log", ylabel="a label")
    made.colorbar(below.imshow(np.arange(12.0).reshape(3, 4), aspect="auto"), ax=below, label="colour")
    below.set_yticks(range(3), ["a long name of a layer", "b", "c"], fontsize=6)
    made.legend(loc="outside lower center", fontsize=8)
    return made


def pixels(image: bytes) -> np.ndarray:
    """Returns the picture of a PNG file as an array."""
    return np.asarray(Image.open(io.BytesIO(image)))


@pytest.mark.parametrize(("width", "resolution"), [(4.6, RESOLUTION), (9.0, WIDE_RESOLUTION)])
def test_a_picture_is_that_of_matplotlib(width, resolution):
    expected = io.BytesIO()
    figure(width).savefig(expected, format="png", dpi=resolution)
    np.testing.assert_array_equal(pixels(as_png(figure(width))), pixels(expected.getvalue()))


def test_a_figure_is_drawn_once(monkeypatch):
    draws, draw = [], Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda self, renderer: draws.append(self) or draw(self, renderer))
    as_png(figure(4.6))
    assert len(draws) == 1
