"""A sweep's comparison: seeds are pooled, settings are ranked, and failures are listed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model.errors import ConfigError
from model.record.summary import JOINT_MEANING, RECALL_MEANING
from model.report.sweep_jobs import read_jobs
from model.report.sweep_report import write_comparison
from model.report.sweep_settings import compare_jobs
from model.report.sweep_text import markdown
from tests.report.sweep_folder import T2, done, rows_of, settings, write_job


def joint_job(recall: float, joint: float) -> dict[str, Any]:
    """The summary of a job with both kinds of recall, for 100 samples."""
    return {
        "status": "complete",
        "metrics": {"val/recall@1": recall, "val/joint_recall@1": joint},
        "samples": {"val": 100},
    }


def test_seeds_are_pooled_and_settings_ranked(tmp_path):
    figures = {"stock": (0.1, 0.2, 0.6), "norms": (0.5, 0.5, 0.5), "einsum": (0.02, 0.02, 0.02)}
    for loss, recalls in figures.items():
        for seed, recall in enumerate(recalls, start=1):
            write_job(tmp_path, f"{loss}{seed}", settings(loss, seed), done(recall))
    rows = rows_of(tmp_path)
    assert [(row["rank"], row["loss"], row["seeds"], row["ok"], row["failed"]) for row in rows] == [
        ("1", "norms", "1 2 3", "3", "0"),
        ("2", "stock", "1 2 3", "3", "0"),
        ("3", "einsum", "1 2 3", "3", "0"),
    ]
    stock = rows[1]
    half = T2 * 0.07**0.5 / 3**0.5  # the variance of 0.1, 0.2, 0.6 is 0.07
    names = ("", " low", " high", " chance", " ceiling")
    figures_of_stock = [float(stock[f"val/recall@1{name}"]) for name in names]
    assert figures_of_stock == pytest.approx([0.3, 0.3 - half, 0.3 + half, 1 / 50, 0.9], rel=1e-12)
    assert stock["val/recall@1 by seed"] == "0.1 0.2 0.6"


def test_costs_are_means_over_the_seeds_but_the_largest_memory(tmp_path):
    for seed, seconds, memory, applied in ((1, 0.25, 700.0, 9), (2, 0.75, 900.0, 11), (3, 0.5, 800.0, 10)):
        steps = {"attempted": applied, "applied": applied, "skipped": 2 * seed, "clipped": seed}
        summary = done(0.5, step_seconds=seconds, peak_memory_mib=memory, steps=steps)
        write_job(tmp_path, str(seed), settings(seed=seed), summary)
    (row,) = rows_of(tmp_path)
    names = ("step_seconds", "applied_steps", "clipped_steps", "skipped_steps", "peak_memory_mib")
    assert [float(row[name]) for name in names] == [0.5, 10, 2, 4, 900]
    assert "| 500 | 900 | 2 | 4 |" in (tmp_path / "comparison.md").read_text()


def test_equal_means_share_a_rank(tmp_path):
    for loss, recall in (("a", 0.5), ("b", 0.25), ("c", 0.5), ("d", None)):
        write_job(tmp_path, loss, settings(loss), done(recall))
    assert [(row["loss"], row["rank"]) for row in rows_of(tmp_path)] == [("a", "1"), ("c", "1"), ("b", "3"), ("d", "")]


def test_settings_are_ranked_by_the_objective_that_all_jobs_have(tmp_path):
    """If the objective differs between jobs, val/recall@1 ranks the settings."""
    for name, loss, recall, joint in (("a", "stock", 0.9, 0.1), ("b", "norms", 0.5, 0.6)):
        write_job(tmp_path, name, settings(loss, objective="val/joint_recall@1"), joint_job(recall, joint))
    write_comparison(tmp_path)
    assert [row["loss"] for row in rows_of(tmp_path)] == ["norms", "stock"]
    text = (tmp_path / "comparison.md").read_text()
    assert "ranked by val/joint_recall@1" in text
    assert RECALL_MEANING in text
    assert JOINT_MEANING in text
    assert float(rows_of(tmp_path)[0]["val/joint_recall@1 chance"]) == 0.01
    write_job(tmp_path, "c", settings("einsum"), joint_job(0.7, 0.7))
    write_comparison(tmp_path)
    assert [row["loss"] for row in rows_of(tmp_path)] == ["stock", "einsum", "norms"]


def test_the_figures_that_chose_the_weights_are_named(tmp_path):
    """Jobs of earlier versions do not record them."""
    write_job(tmp_path, "a", settings("stock"), done(0.5))
    write_comparison(tmp_path)
    assert "of the best weights" not in (tmp_path / "comparison.md").read_text()
    for loss, metric in (("norms", "val/recall@1"), ("einsum", "val/swap_acc")):
        write_job(tmp_path, loss, settings(loss), joint_job(0.5, 0.6) | {"best": {"metric": metric, "mode": "max"}})
    write_comparison(tmp_path)
    text = (tmp_path / "comparison.md").read_text()
    assert "Test figures are of the best weights of a job, which val/" in text
    assert text.count("val/swap_acc") == 1


def test_failures_are_listed_with_their_reason_and_never_dropped(tmp_path):
    write_job(tmp_path, "a1", settings("a", 1), done(0.5))
    write_job(tmp_path, "a2", settings("a", 2), {"status": "failed", "reason": "ValueError: too\nlong | wide"})
    write_job(tmp_path, "b1", settings("b", 1), None)
    write_job(tmp_path, "c1", settings("c", 1), '{"status": "comp')
    rows = rows_of(tmp_path)
    assert [(row["loss"], row["rank"], row["ok"], row["failed"], row["failures"]) for row in rows] == [
        ("a", "1", "1", "1", "seed 2: ValueError: too long | wide"),
        ("b", "", "0", "1", "seed 1: did not end"),
        ("c", "", "0", "1", "seed 1: did not end"),
    ]
    text = (tmp_path / "comparison.md").read_text()
    assert "| 1 | a | 1 of 2 | 0.500 ± — |" in text
    assert "| — | b | 0 of 1 | — |" in text
    assert "- loss=a seed=2 (`a2`): ValueError: too long | wide\n" in text


def test_a_table_without_failures_does_not_mention_failures(tmp_path):
    for seed in (1, 2):
        write_job(tmp_path, str(seed), settings(seed=seed), done(0.25), ("data.val_size=50", f"seed={seed}"))
    text = markdown(compare_jobs(read_jobs(tmp_path)))
    assert "Without figures" not in text
    assert "All jobs: `data.val_size=50`" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert "| 1 | 2 | 0.250 ± 0.000 | 0.500 ± 0.000 | 0.020 | 250 | 700 | 4 | 1 |" in text


def test_a_configuration_counts_once_and_the_job_that_ended_counts(tmp_path):
    write_job(tmp_path, "0", settings(), {"status": "failed", "reason": "x"})
    write_job(tmp_path, "1", settings(evaluate=["val", "test"]), done(0.5))
    write_job(tmp_path, "2", settings(), done(0.75))
    assert [(row["ok"], row["failed"], row["val/recall@1"]) for row in rows_of(tmp_path)] == [("1", "0", "0.5")]


def test_floats_keep_every_digit(tmp_path):
    write_job(tmp_path, "a", settings(), done(0.1 + 0.2))
    assert float(rows_of(tmp_path)[0]["val/recall@1"]) == 0.1 + 0.2


def test_what_was_only_evaluated_is_compared_too(tmp_path):
    write_job(tmp_path, "a", settings(), None)
    (tmp_path / "a" / "evaluation.json").write_text(
        json.dumps({"status": "complete", "metrics": {"test/recall@1": 0.125}})
    )
    row = rows_of(tmp_path)[0]
    assert (row["rank"], row["ok"], row["test/recall@1"]) == ("", "1", "0.125")


def test_a_sweep_without_an_ended_job_has_a_comparison(tmp_path):
    write_job(tmp_path, "a", settings(), {"status": "failed", "reason": "x"})
    assert [path.name for path in write_comparison(tmp_path)] == ["comparison.csv", "comparison.md", "comparison.png"]


def test_a_folder_without_jobs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no jobs of a sweep"):
        write_comparison(tmp_path)
    assert list(tmp_path.iterdir()) == []
