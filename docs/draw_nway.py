"""Draws docs/nway.png: ``python docs/draw_nway.py <metrics.csv of a run on scenes>``."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from model.record.metrics_csv import read_rows


def draw_lines(axes: plt.Axes, size: int = 6) -> None:
    """The B^3 scores of three views as points, with the lines through two matching cells."""
    cells = [(i, j, k) for i in range(size) for j in range(size) for k in range(size)]
    axes.scatter(*zip(*cells, strict=True), s=2, color="0.75", depthshade=False)
    for match, colour in ((1, "#0072B2"), (4, "#D55E00")):
        for axis in range(3):
            line = [[match] * size for _ in range(3)]
            line[axis] = list(range(size))
            axes.plot(*line, color=colour, lw=2.2, marker="o", ms=3)
        axes.plot([match], [match], [match], color=colour, marker="*", ms=13)
    axes.set(
        xlabel="image (row)",
        ylabel="caption 1 (row)",
        zlabel="caption 2 (row)",
        xticks=range(size),
        yticks=range(size),
        zticks=range(size),
    )
    axes.set_title(
        "Three views: of B³ scores only 3 B² are used,\nthe lines through each matching cell (star)", fontsize=11
    )
    axes.view_init(elev=20, azim=-58)
    axes.set_box_aspect(None, zoom=0.86)


def draw_recall(axes: plt.Axes, metrics: Path) -> None:
    """Recall of the validation pictures after every epoch."""
    rows = [row for row in read_rows(metrics) if "val/recall@1" in row]
    steps = [int(row["step"]) for row in rows]
    for k, colour in ((10, "#0072B2"), (5, "#009E73"), (1, "#D55E00")):
        values = [100 * float(row[f"val/recall@{k}"]) for row in rows]
        axes.plot(steps, values, color=colour, marker="o", ms=3)
        axes.annotate(
            f"recall@{k}", (steps[0], values[0]), ha="right", xytext=(-5, -3), textcoords="offset points", color=colour
        )
    axes.axhline(1, color="0.5", lw=1, ls="--")
    axes.annotate(
        "chance of recall@10",
        (steps[-1], 1),
        ha="right",
        xytext=(0, 4),
        textcoords="offset points",
        color="0.4",
        fontsize=9,
    )
    axes.set(
        xlabel="optimizer step", ylabel="recall among 1,000 pictures (%)", ylim=(0, 102), xlim=(0, 1.02 * steps[-1])
    )
    axes.set_title("The first command's run, six views, two cores", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def main(metrics: Path) -> None:
    """Both panels."""
    figure = plt.figure(figsize=(11, 4.6), layout="constrained")
    draw_lines(figure.add_subplot(1, 2, 1, projection="3d"))
    draw_recall(figure.add_subplot(1, 2, 2), metrics)
    figure.savefig(Path(__file__).with_name("nway.png"), dpi=130)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
