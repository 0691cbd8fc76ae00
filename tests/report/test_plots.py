"""The pictures of a run show the data of its files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from model.report.health_plots import health_pictures
from model.report.plots import gradient_norms, logit_scale, loss, recall, training_pictures
from model.report.plots_features import alignment, alignment_matrix, cka, feature_pictures
from model.report.plots_retrieval import any_of, example_grid, picture, rankings, recall_intervals, retrieval_pictures
from model.report.run_files import Run, column_parts, read_run, series
from tests.report.run_folder import ANALYSIS, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run that has every file."""
    return read_run(write_run(tmp_path_factory.mktemp("runs") / "complete"))


def points(figure, label: str) -> list[tuple[float, float]]:
    """Returns the points of the line with this label."""
    line = next(line for line in figure.axes[0].get_lines() if line.get_label() == label)
    return list(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True))


def legend_texts(figure) -> list[str]:
    """Returns the texts of the legend."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_series_leave_out_values_that_are_not_finite():
    rows = [{"step": 1, "a": 2.0}, {"step": 2, "b": 1.0}, {"step": 3, "a": float("nan")}, {"step": 4, "a": 5.0}]
    assert series(rows, "a") == ([1, 4], [2.0, 5.0])
    assert column_parts(
        [{"drift/image/norm": 1, "drift/caption_1/norm": 2, "drift/image/cosine": 3}], "drift/", "/norm"
    ) == ["image", "caption_1"]


def test_loss_with_a_cross_at_each_skipped_step(run):
    figure = loss(run)
    assert points(figure, "training") == [(10, 3.5), (20, 3.0), (40, 2.0)]
    assert points(figure, "validation") == [(20, 2.5), (40, 1.5)]
    assert [step for step, _ in points(figure, "skipped step")] == [30]
    assert legend_texts(figure) == ["training", "validation", "skipped step"]
    assert legend_texts(loss(Run(run.folder, metrics=run.metrics[:1]))) == ["training"]


def levels(figure, style: str) -> list[float]:
    """Returns the heights of the horizontal lines of a style."""
    return sorted(
        float(line.get_ydata()[0])
        for line in figure.axes[0].get_lines()
        if line.get_linestyle() == style and len(line.get_ydata())
    )


def test_recall_with_chance_and_with_the_ceiling_if_it_is_near(run):
    figure = recall(run)
    assert points(figure, "recall@5") == [(20, 0.1), (40, 0.2)]
    assert levels(figure, ":") == [0.01, 0.05, 0.1]
    assert levels(figure, "--") == [], "0.4 is far below 0.997"
    assert legend_texts(figure) == ["recall@1", "recall@5", "recall@10", "chance"]
    near = recall(Run(run.folder, run.config, summary=run.summary, metrics=[{"step": 1, "val/recall@1": 0.9}]))
    assert levels(near, "--") == [0.997]
    assert near.axes[0].get_ylim() == (0, 1.04)


def test_chance_follows_from_the_number_of_ranked_samples(run):
    counted = Run(run.folder, run.config, summary={"samples": {"val": 50}}, metrics=run.metrics)
    assert levels(recall(counted), ":") == [0.02, 0.1, 0.2]


@pytest.mark.parametrize(("right", "total", "k"), [(1, 5, 1), (2, 6, 3), (3, 7, 5), (2, 4, 10)])
def test_chance_of_any_caption_by_counting(right, total, k):
    draws = list(itertools.combinations(range(total), min(k, total)))
    assert any_of(right, total, k) == pytest.approx(sum(any(i < right for i in draw) for draw in draws) / len(draws))


def test_rankings_are_grouped_by_direction():
    names = [pair["name"] for pair in rankings(ANALYSIS["retrieval"]["test"])]
    assert names == [
        "caption 1 → image",
        "decoded 2 → image",
        "image → caption 1",
        "image → decoded 2",
        "image → any of 2 captions",
    ]


def test_recall_intervals_are_drawn_at_their_values():
    figure = recall_intervals(
        "test", ANALYSIS["retrieval"]["test"], {"recall@1": 0.9, "recall@5": 1.0, "recall@10": 1.0}
    )
    (axes,) = figure.axes
    points, _, (bars,) = axes.containers[0]
    np.testing.assert_allclose(points.get_xdata().astype(float), [0.31, 0.11, 0.32, 0.12, 0.4])
    np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()][1], [0.09, 0.13])
    assert axes.get_yticklabels()[1].get_text() == "decoded 2 → image"
    chance = next(
        line
        for line in axes.get_lines()
        if line.get_marker() == "|" and len(line.get_xdata()) == 5 and line.get_markersize() == 9
    )
    np.testing.assert_allclose(chance.get_xdata(), [0.005] * 4 + [any_of(2, 400, 1)])
    ceilings = [
        (float(x), float(y))
        for line in axes.get_lines()
        if line.get_marker() == 9
        for x, y in zip(*line.get_data(), strict=True)
    ]
    assert sorted(ceilings) == [(0.9, 0.0), (0.9, 2.0), (1.0, 0.0), (1.0, 0.0), (1.0, 2.0), (1.0, 2.0)], (
        "at caption 1 only"
    )


def test_an_interval_whose_end_lies_on_the_wrong_side_by_rounding_is_drawn():
    """Such files exist, and matplotlib refuses negative lengths."""
    figures = {"value": 0.1, "low": 0.1 + 1e-16, "high": 0.1 - 1e-16}
    retrieval = {
        "samples": 20,
        "captions": 1,
        "pairs": [{"view": "caption_1", "direction": "image_to_text", "recall": {"1": figures}}],
    }
    assert recall_intervals("test", retrieval, {}) is not None


@pytest.mark.parametrize(("scales", "bottom", "top"), [((10.0, 9.989, 10.0), 9.0, 11.0), ((14.3, 100.0), 10.0, 104.3)])
def test_a_small_change_of_the_logit_scale_looks_small(tmp_path, scales, bottom, top):
    rows = [{"step": float(step), "train/logit_scale": scale} for step, scale in enumerate(scales)]
    assert logit_scale(Run(tmp_path, metrics=rows)).axes[0].get_ylim() == pytest.approx((bottom, top), abs=0.02)


def test_alignment_names_the_pairs_with_the_image(run):
    figure = alignment(run)
    assert points(figure, "image to caption 1") == [(20, pytest.approx(1.4)), (40, pytest.approx(1.2))]
    assert legend_texts(figure) == ["other pairs", "image to caption 1", "image to decoded 2"]


def test_no_name_in_a_legend_is_cut(tmp_path):
    views = ["caption_1", *(f"translated_{number}" for number in range(2, 8))]
    rows = [{"step": 1.0, **{f"geometry/alignment/image~{view}": 1.0 for view in views}}]
    figure = alignment(Run(tmp_path, metrics=rows))
    figure.draw_without_rendering()
    (box,) = (legend.get_window_extent() for legend in figure.legends)
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1


def test_steps_are_labelled_with_whole_numbers(tmp_path):
    for steps in ((6.0,), (3.0, 6.0), (1.0, 2.0)):
        figure = logit_scale(Run(tmp_path, metrics=[{"step": step, "train/logit_scale": 10.0} for step in steps]))
        assert all(tick == round(tick) for tick in figure.axes[0].get_xticks())


def test_views_keep_their_colour_where_the_image_is_missing(run):
    pictures = {name: picture() for name, picture in feature_pictures(run).items()}
    shown = {name: pictures[name].axes[0].get_lines() for name in ("uniformity", "modality_gap", "drift_norm")}
    colours = {name: {line.get_label(): line.get_color() for line in lines} for name, lines in shown.items()}
    assert (
        colours["modality_gap"]["caption 1"] == colours["uniformity"]["caption 1"] == colours["drift_norm"]["caption 1"]
    )
    assert set(colours["modality_gap"]) == {"caption 1", "decoded 2"}
    assert points(pictures["drift_cosine"], "image") == [(40, 0.8)], "the first validation has no previous one"


def test_alignment_matrix_is_symmetric_with_gaps_for_unknown_values():
    figure = alignment_matrix("test", ANALYSIS["geometry"]["test"])
    table = figure.axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(table.filled(-1), [[-1, 0.9, 1.4], [0.9, -1, -1], [1.4, -1, -1]])
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.90", "1.40", "0.90", "1.40"]
    assert alignment_matrix("test", {"alignment": [{"views": ["a", "b"], "value": None}]}) is None


def test_cka_reads_from_below_with_the_layers_named(run):
    figure = cka(run, "image")
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.get_images()[0].get_array(), np.linspace(1, 0.5, 9).reshape(3, 3))
    assert axes.get_ylim()[0] < axes.get_ylim()[1]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("initial weights", "trained model")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1", "2"]
    layers = {"cka": {"layers": {"image": ["embeddings", "layer 1", "output"]}}}
    axes_with_names = cka(Run(run.folder, analysis=layers, cka=run.cka), "image").axes[0]
    assert [text.get_text() for text in axes_with_names.get_yticklabels()] == ["embeddings", "layer 1", "output"]
    assert cka(Run(run.folder, cka={"text": np.full((2, 2), np.nan)}), "text") is None


def test_examples_frame_the_right_pictures(run):
    (axes,) = example_grid(run).axes
    assert [text.get_text() for text in axes.texts] == ["<script>alert('x')</script> costs $5 & $6", "一个红色的圆"]
    (frame,) = axes.patches
    sheet = axes.get_images()[0].get_array()
    row, column = (
        round(place + side / 2)
        for place, side in ((frame.get_y(), frame.get_height()), (frame.get_x(), frame.get_width()))
    )
    assert tuple(sheet[row, column]) == (0, 90, 200)


def test_pictures_of_other_shapes_keep_their_proportion(tmp_path):
    from PIL import Image

    Image.new("RGB", (96, 48), (0, 0, 0)).save(tmp_path / "wide.png")
    shown = picture(tmp_path / "wide.png")
    assert shown.shape == (96, 96, 3)
    assert (shown == 0).all(axis=2).sum() == 96 * 48


def test_gradient_norms_are_logarithmic_where_they_can_be(run):
    rows = [{"step": 1, "grad_tower/image/norm": 0.5, "grad_tower/text/norm": 5.0}]
    assert gradient_norms(Run(run.folder, metrics=rows), "tower").axes[0].get_yscale() == "log"
    assert (
        gradient_norms(Run(run.folder, metrics=[{**rows[0], "grad_tower/text/norm": 0.0}]), "tower")
        .axes[0]
        .get_yscale()
        == "linear"
    )


def test_a_run_with_nothing_to_show_has_no_pictures(tmp_path):
    empty = Run(tmp_path)
    pictures = (
        training_pictures(empty) | feature_pictures(empty) | retrieval_pictures(empty) | health_pictures(tmp_path)
    )
    assert not any(picture() for picture in pictures.values())
