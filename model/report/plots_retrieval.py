"""Pictures of what was retrieved: analysis.json and examples/ -> Figure. matplotlib only; nothing is shown or saved
here.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image, ImageOps

from model.data.text import beginning
from model.report.health_plots import Picture
from model.report.plots import BY_K, GREEN, GREY, KS, WIDTH, chart, legend, missing_glyphs_ignored
from model.report.run_files import Run, label

Pair = dict[str, Any]
# Pixels of a retrieved picture's side, and of the space around it.
SIDE, GAP = 96, 10
# Inches of a title, and signs of a caption that a row has room for.
TITLE, LONGEST = 0.25, 80
# The share of the width that a caption may take, as letters differ a little in width between resolutions.
SAFE_WIDTH = 0.92


def retrieval_pictures(run: Run) -> dict[str, Picture]:
    """File name without ending -> function that draws it: a picture of recall for every split that was analysed, and
    the retrieved examples.
    """
    splits = run.analysis.get("retrieval", {})
    ceilings = run.summary.get("ceiling", {})
    recalls = {
        f"retrieval_{split}": partial(recall_intervals, split, found, ceilings.get(split, {}))
        for split, found in splits.items()
    }
    return {**recalls, "examples": partial(example_grid, run)}


def rankings(found: dict[str, Any]) -> list[Pair]:
    """Every ranking of a split: `name` (image → caption 1), `recall`, `median_rank`, `chance` by k; those by image
    last.
    """
    samples, captions = found["samples"], found["captions"]
    pairs = sorted(found.get("pairs", []), key=lambda pair: pair["direction"] == "image_to_text")
    named = [{**pair, "name": direction_name(pair), "chance": {k: min(1.0, k / samples) for k in KS}} for pair in pairs]
    if found.get("any_caption"):
        chance = {k: any_of(captions, samples * captions, k) for k in KS}
        named.append({**found["any_caption"], "name": f"image → any of {captions} captions", "chance": chance})
    return named


def direction_name(pair: Pair) -> str:
    """What is asked with, then what is found."""
    view = label(pair["view"])
    return f"image → {view}" if pair["direction"] == "image_to_text" else f"{view} → image"


def any_of(right: int, total: int, k: int) -> float:
    """The chance that k drawn out of `total`, without putting back, hold one of `right`."""
    return 1 - math.comb(total - right, k) / math.comb(total, k) if k <= total else 1.0


def recall_intervals(split: str, found: dict[str, Any], ceiling: dict[str, float]) -> Figure | None:
    """Recall of every caption view and direction with its 95 % interval, a dotted mark at chance, a bar at what caption
    1 allows.
    """
    shown = rankings(found)
    if not shown:
        return None
    figure, axes = chart(
        f"Recall, {split} ({found['samples']:,} pictures)",
        "",
        "recall@k with 95 % interval",
        height=1.5 + 0.34 * len(shown),
    )
    for k in KS:
        points = [
            (place, pair["recall"][str(k)], pair["chance"][k])
            for place, pair in enumerate(shown)
            if str(k) in pair["recall"]
        ]
        places, values = [place for place, *_ in points], [figures["value"] for _, figures, _ in points]
        # Files of older versions hold ends that rounding put on the wrong side of the value.
        low = [max(0.0, figures["value"] - figures["low"]) for _, figures, _ in points]
        high = [max(0.0, figures["high"] - figures["value"]) for _, figures, _ in points]
        axes.errorbar(
            values,
            places,
            xerr=[low, high],
            fmt="o",
            color=BY_K[k],
            markersize=5,
            capsize=3,
            linewidth=1.4,
            label=f"recall@{k}",
        )
        axes.plot([chance for *_, chance in points], places, "|", color=BY_K[k], markersize=9)
        if ceiling.get(f"recall@{k}"):
            told = [place for place, pair in enumerate(shown) if label(pair.get("view", "")) == "caption 1"]
            axes.plot([ceiling[f"recall@{k}"]] * len(told), told, marker=9, color=GREY, markersize=6, linestyle="none")
    axes.plot([], [], "|", color=GREY, markersize=9, label="chance")
    if ceiling:
        axes.plot([], [], marker=9, color=GREY, markersize=6, linestyle="none", label="ceiling")
    axes.set_yticks(range(len(shown)), [pair["name"] for pair in shown], fontsize=8)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(left=0)
    legend(axes)
    return figure


def example_grid(run: Run) -> Figure | None:
    """A row a query: its caption, then the pictures found, best first, the right ones framed."""
    queries = run.examples.get("queries", [])
    folder = run.folder / "examples"
    if not queries:
        return None
    columns = max(len(query["hits"]) for query in queries)
    cell, row = SIDE + GAP, SIDE + 3 * GAP
    sheet = np.full((len(queries) * row + GAP, columns * cell + GAP, 3), 255, dtype=np.uint8)
    height = WIDTH * sheet.shape[0] / sheet.shape[1]
    figure = Figure(figsize=(WIDTH, height + TITLE))
    axes = figure.add_axes((0, 0, 1, height / (height + TITLE)))
    for line, query in enumerate(queries):
        top = line * row + 3 * GAP
        axes.text(
            GAP,
            top - 0.6 * GAP,
            beginning(query["caption"], LONGEST),
            fontsize=7,
            va="bottom",
            parse_math=False,
            clip_on=True,
        )
        for place, hit in enumerate(query["hits"]):
            left = place * cell + GAP
            sheet[top : top + SIDE, left : left + SIDE] = picture(folder / hit["picture"])
            if hit["match"]:
                axes.add_patch(
                    Rectangle((left - 3, top - 3), SIDE + 5, SIDE + 5, fill=False, edgecolor=GREEN, linewidth=2.5)
                )
    axes.imshow(sheet, interpolation="nearest")
    with missing_glyphs_ignored():
        for text in axes.texts:
            shorten_to_fit(text)
    axes.set_axis_off()
    axes.set_title(f"Best pictures for a caption ({run.examples.get('split', '')}), right ones framed", fontsize=9)
    return figure


def shorten_to_fit(text: Text) -> None:
    """Shortens a text whose right end lies outside its axes: letters of other scripts, and capitals, are wider than
    most.
    """
    right = text.axes.get_window_extent().x1 * SAFE_WIDTH
    while (extent := text.get_window_extent()).x1 > right and len(text.get_text()) > 1:
        length = len(text.get_text())
        text.set_text(
            beginning(text.get_text(), max(1, min(length - 1, int(length * (right - extent.x0) / extent.width))))
        )


def picture(path: Path) -> np.ndarray:
    """(SIDE, SIDE, 3) bytes, the sides' proportion kept; a grey square where there is no such file."""
    if not path.is_file():
        return np.full((SIDE, SIDE, 3), 200, dtype=np.uint8)
    with Image.open(path) as image:
        return np.asarray(ImageOps.pad(image.convert("RGB"), (SIDE, SIDE), color="white"))
