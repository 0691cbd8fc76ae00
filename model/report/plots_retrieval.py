"""Draws recall and the retrieved examples from analysis.json and examples/. Returns matplotlib figures, and shows or
saves none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image, ImageOps

from model.data.text import beginning
from model.report.health_plots import Drawing
from model.report.plots import BY_K, GREEN, GREY, KS, WIDTH, chart, legend, missing_glyphs_ignored
from model.report.run_files import Run, label

Ranking = dict[str, Any]
"""An entry of analysis.json: the recall of one query view in one direction."""
# In pixels: the side of a retrieved picture, and the space around it.
SIDE, GAP = 96, 10
# The height of the title in inches, and the largest number of characters of a caption in a row.
TITLE, LONGEST = 0.25, 80
# The largest width of a caption as a share of the picture's width: letters differ a little in width between
# resolutions.
SAFE_WIDTH = 0.92
# The style of the marks at the ceiling.
CEILING_MARK: dict[str, Any] = {"marker": 9, "color": GREY, "markersize": 6, "linestyle": "none"}


def retrieval_pictures(run: Run) -> dict[str, Drawing]:
    """Returns file name without ending -> function that draws the picture: recall for every analysed split, and the
    retrieved examples.
    """
    splits = run.analysis.get("retrieval", {})
    ceilings = run.summary.get("ceiling", {})
    recalls = {
        f"retrieval_{split}": partial(recall_intervals, split, retrieval, ceilings.get(split, {}))
        for split, retrieval in splits.items()
    }
    return {**recalls, "examples": partial(example_grid, run)}


def rankings(retrieval: dict[str, Any]) -> list[Ranking]:
    """Returns every ranking of a split, queries by image last, each with `name` (image → caption 1) and `chance` by k.

    retrieval: the entry of a split in analysis.json.
    """
    samples, captions = retrieval["samples"], retrieval["captions"]
    chance = {k: min(1.0, k / samples) for k in KS}
    pairs = sorted(retrieval.get("pairs", []), key=lambda pair: pair["direction"] == "image_to_text")
    result = [{**pair, "name": direction_name(pair), "chance": chance} for pair in pairs]
    if retrieval.get("any_caption"):
        chance_of_any = {k: any_of(captions, samples * captions, k) for k in KS}
        name = f"image → any of {captions} captions"
        result.append({**retrieval["any_caption"], "name": name, "chance": chance_of_any})
    return result


def direction_name(ranking: Ranking) -> str:
    """Returns `query → result`."""
    view = label(ranking["view"])
    return f"image → {view}" if ranking["direction"] == "image_to_text" else f"{view} → image"


def any_of(matching: int, total: int, k: int) -> float:
    """Returns the probability that k items drawn from `total` items without replacement contain one of the `matching`
    items.
    """
    return 1 - math.comb(total - matching, k) / math.comb(total, k) if k <= total else 1.0


def recall_intervals(split: str, retrieval: dict[str, Any], ceiling: dict[str, float]) -> Figure | None:
    """Draws the recall of every caption view and direction with its 95 % interval, and marks chance and the ceiling.

    ceiling: figure -> the largest value that caption 1 allows.
    """
    ranked = rankings(retrieval)
    if not ranked:
        return None
    title = f"Recall, {split} ({retrieval['samples']:,} pictures)"
    figure, axes = chart(title, "", "recall@k with 95 % interval", height=1.5 + 0.34 * len(ranked))
    with_caption_1 = [place for place, ranking in enumerate(ranked) if label(ranking.get("view", "")) == "caption 1"]
    for k in KS:
        draw_recall(axes, ranked, k)
        if ceiling.get(f"recall@{k}"):
            axes.plot([ceiling[f"recall@{k}"]] * len(with_caption_1), with_caption_1, **CEILING_MARK)
    axes.plot([], [], "|", color=GREY, markersize=9, label="chance")
    if ceiling:
        axes.plot([], [], **CEILING_MARK, label="ceiling")
    axes.set_yticks(range(len(ranked)), [ranking["name"] for ranking in ranked], fontsize=8)
    axes.set_ylim(len(ranked) - 0.5, -0.5)
    axes.set_xlim(left=0)
    legend(axes)
    return figure


def draw_recall(axes: Axes, ranked: Sequence[Ranking], k: int) -> None:
    """Draws recall@k of the rankings that have it, with intervals and chance."""
    places = [place for place, ranking in enumerate(ranked) if str(k) in ranking["recall"]]
    figures = [ranked[place]["recall"][str(k)] for place in places]
    # In files of older versions, rounding can have put an end of the interval on the wrong side of the value.
    low = [max(0.0, figure["value"] - figure["low"]) for figure in figures]
    high = [max(0.0, figure["high"] - figure["value"]) for figure in figures]
    axes.errorbar(
        [figure["value"] for figure in figures],
        places,
        xerr=[low, high],
        fmt="o",
        color=BY_K[k],
        markersize=5,
        capsize=3,
        linewidth=1.4,
        label=f"recall@{k}",
    )
    axes.plot([ranked[place]["chance"][k] for place in places], places, "|", color=BY_K[k], markersize=9)


def example_grid(run: Run) -> Figure | None:
    """Draws one row for each query: its caption, then the retrieved pictures, best first, with frames around the
    matching ones.
    """
    queries = run.examples.get("queries", [])
    if not queries:
        return None
    columns = max(len(query["hits"]) for query in queries)
    cell, row = SIDE + GAP, SIDE + 3 * GAP
    sheet = np.full((len(queries) * row + GAP, columns * cell + GAP, 3), 255, dtype=np.uint8)
    height = WIDTH * sheet.shape[0] / sheet.shape[1]
    figure = Figure(figsize=(WIDTH, height + TITLE))
    axes = figure.add_axes((0, 0, 1, height / (height + TITLE)))
    for line, query in enumerate(queries):
        draw_query(axes, sheet, query, line * row + 3 * GAP, run.folder / "examples")
    axes.imshow(sheet, interpolation="nearest")
    with missing_glyphs_ignored():
        for text in axes.texts:
            shorten_to_fit(axes, text)
    axes.set_axis_off()
    title = f"Most similar pictures for a caption ({run.examples.get('split', '')}), matching ones framed"
    axes.set_title(title, fontsize=9)
    return figure


def draw_query(axes: Axes, sheet: NDArray[np.uint8], query: dict[str, Any], top: int, folder: Path) -> None:
    """Draws the caption and the frames of a query, and copies its pictures from `folder` into `sheet`.

    sheet: (height, width, 3), written in place. top: the first row of the pictures in pixels.
    """
    caption = beginning(query["caption"], LONGEST)
    axes.text(GAP, top - 0.6 * GAP, caption, fontsize=7, va="bottom", parse_math=False, clip_on=True)
    for place, hit in enumerate(query["hits"]):
        left = place * (SIDE + GAP) + GAP
        sheet[top : top + SIDE, left : left + SIDE] = picture(folder / hit["picture"])
        if hit["match"]:
            corner, side = (left - 3, top - 3), SIDE + 5
            axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=GREEN, linewidth=2.5))


def shorten_to_fit(axes: Axes, text: Text) -> None:
    """Shortens a text that is too wide for the axes. Capitals and letters of some scripts are wider than most
    letters.
    """
    right = axes.get_window_extent().x1 * SAFE_WIDTH
    while (extent := text.get_window_extent()).x1 > right and len(text.get_text()) > 1:
        length = len(text.get_text())
        text.set_text(
            beginning(text.get_text(), max(1, min(length - 1, int(length * (right - extent.x0) / extent.width))))
        )


def picture(path: Path) -> NDArray[np.uint8]:
    """Returns the picture as (SIDE, SIDE, 3) bytes with its proportions; a grey square if there is no such file."""
    if not path.is_file():
        return np.full((SIDE, SIDE, 3), 200, dtype=np.uint8)
    with Image.open(path) as image:
        return np.asarray(ImageOps.pad(image.convert("RGB"), (SIDE, SIDE), color="white"))
