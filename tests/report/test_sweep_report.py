"""A sweep's comparison: what is pooled, what is a column, what is ranked, what is told of failures. The jobs are files
written here.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from model.config.compose import as_dict
from model.errors import ConfigError
from model.record.summary import JOINT_MEANING, RECALL_MEANING
from model.report.choices import choice_defaults
from model.report.intervals import t_interval
from model.report.sweep_jobs import flat, read_jobs
from model.report.sweep_report import write_comparison
from model.report.sweep_settings import compare_jobs
from model.report.sweep_text import markdown

# Student's t for 95 %, in closed form: 1 and 2 degrees of freedom.
T1, T2 = math.tan(0.475 * math.pi), 0.95 / math.sqrt(2 * 0.975 * 0.025)


def write_job(
    sweep: Path,
    name: str,
    config: dict[str, Any],
    summary: dict[str, Any] | str | None,
    overrides: tuple[str, ...] = (),
) -> None:
    """A job's folder as a run leaves it; a summary that is a string is written as it stands."""
    hydra = sweep / name / ".hydra"
    hydra.mkdir(parents=True)
    (hydra / "config.yaml").write_text(yaml.safe_dump(config))
    (hydra / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    if summary is not None:
        (sweep / name / "summary.json").write_text(summary if isinstance(summary, str) else json.dumps(summary))


def settings(loss: str = "stock", seed: int = 1, lr: float | str = 0.001, **more: Any) -> dict[str, Any]:
    """A configuration."""
    return {
        "loss": {"name": loss, "eps": 1e-8},
        "optimizer": {"lr": lr},
        "backbone": {"lr": 0.001},
        "seed": seed,
        "evaluate": ["test"],
        **more,
    }


def done(recall: float | None, **more: Any) -> dict[str, Any]:
    """The summary of a job that ended."""
    return {
        "status": "complete",
        "metrics": {"val/recall@1": recall, "test/recall@1": 0.5, "val/loss": 1.5},
        "steps": {"attempted": 10, "applied": 9, "skipped": 1, "clipped": 4},
        "step_seconds": 0.25,
        "peak_memory_mib": 700.0,
        "samples": {"val": 50, "test": 100},
        "ceiling": {"val": {"recall@1": 0.9}},
        **more,
    }


def rows_of(sweep: Path) -> list[dict[str, str]]:
    """comparison.csv, written now."""
    write_comparison(sweep)
    with open(sweep / "comparison.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("values", "mean", "half"),
    [
        ([1.0, 2.0, 3.0], 2.0, T2 / 3**0.5),  # deviation 1
        ([0.0, 1.0], 0.5, T1 * 0.5),  # deviation sqrt(1/2)
        ([4.0] * 5, 4.0, 0.0),
    ],
)
def test_the_interval_is_students(values, mean, half):
    found = t_interval(values)
    assert (found.n, found.mean) == (len(values), mean)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), rel=1e-12)


def test_one_value_has_no_interval():
    assert (t_interval([0.25]).low, t_interval([0.25]).high, t_interval([])) == (None, None, None)


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
    half = T2 * 0.07**0.5 / 3**0.5  # variance of 0.1, 0.2, 0.6: 0.07
    found = [
        float(stock[key])
        for key in (
            "val/recall@1",
            "val/recall@1 low",
            "val/recall@1 high",
            "val/recall@1 chance",
            "val/recall@1 ceiling",
        )
    ]
    assert found == pytest.approx([0.3, 0.3 - half, 0.3 + half, 1 / 50, 0.9], rel=1e-12)
    assert stock["val/recall@1 by seed"] == "0.1 0.2 0.6"
    costs = {
        name: float(stock[name])
        for name in ("step_seconds", "applied_steps", "clipped_steps", "skipped_steps", "peak_memory_mib")
    }
    assert costs == {
        "step_seconds": 0.25,
        "applied_steps": 9,
        "clipped_steps": 4,
        "skipped_steps": 1,
        "peak_memory_mib": 700,
    }


def test_equal_means_share_a_rank(tmp_path):
    for loss, recall in (("a", 0.5), ("b", 0.25), ("c", 0.5), ("d", None)):
        write_job(tmp_path, loss, settings(loss), done(recall))
    assert [(row["loss"], row["rank"]) for row in rows_of(tmp_path)] == [("a", "1"), ("c", "1"), ("b", "3"), ("d", "")]


def test_settings_are_ranked_by_the_objective_that_all_jobs_have(tmp_path):
    """Where it differs by val/recall@1."""
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


def joint_job(recall: float, joint: float) -> dict[str, Any]:
    """A job with both kinds of recall, of 100 samples."""
    return {
        "status": "complete",
        "metrics": {"val/recall@1": recall, "val/joint_recall@1": joint},
        "samples": {"val": 100},
    }


def test_only_what_varies_is_a_column(tmp_path):
    write_job(tmp_path, "a", settings("stock", 1, 0.001), done(0.5))
    write_job(tmp_path, "b", settings("stock", 2, 0.002, evaluate=["val"]), done(0.5))
    columns = list(rows_of(tmp_path)[0])
    assert columns[:4] == ["rank", "optimizer.lr", "seeds", "ok"]


def columns_of(sweep: Path, *configs: dict[str, Any]) -> set[str]:
    """The settings that the comparison of these jobs tells apart."""
    for place, config in enumerate(configs):
        write_job(sweep, str(place), config, done(0.5))
    columns = list(rows_of(sweep)[0])
    return set(columns[1 : columns.index("seeds")])


def with_loss(name: str, **keys: Any) -> dict[str, Any]:
    """The configuration of a loss with these keys."""
    return {**settings(), "loss": {"name": name, **keys}}


def test_defaults_of_a_choice_are_no_columns(tmp_path):
    guard, watch = ({"monitor": {"name": name, "clip": clip}} for name, clip in (("guard", 1.0), ("watch", None)))
    assert columns_of(tmp_path / "a", settings(**guard), settings(**watch)) == {"monitor"}
    cosine, constant = {"name": "cosine", "warmup": 0.1, "final": 0.0}, {"name": "constant", "warmup": 0.0}
    assert columns_of(tmp_path / "b", settings(schedule=cosine), settings(schedule=constant)) == {"schedule"}
    adamw, lion = (
        {"name": "adamw", "lr": "${backbone.lr}", "betas": [0.9, 0.98]},
        {"name": "lion", "lr": 5e-4, "betas": [0.9, 0.99]},
    )
    assert columns_of(tmp_path / "c", settings(optimizer=adamw), settings(optimizer=lion)) == {"optimizer"}


def test_what_an_experiment_set_is_a_column_also_where_one_choice_only_has_it(tmp_path):
    """Nothing on the command line says it."""
    assert columns_of(
        tmp_path / "a", with_loss("einsum", scale_init="auto"), with_loss("stock", scale_init="original")
    ) == {
        "loss",
        "loss.scale_init",
    }
    final, constant = {"name": "cosine", "warmup": 0.1, "final": 0.5}, {"name": "constant", "warmup": 0.0}
    assert columns_of(tmp_path / "b", settings(schedule=final), settings(schedule=constant)) == {
        "schedule",
        "schedule.final",
    }
    adamw, lion = {"name": "adamw", "lr": 0.25}, {"name": "lion", "lr": 5e-4}
    assert columns_of(tmp_path / "c", settings(optimizer=adamw), settings(optimizer=lion)) == {
        "optimizer",
        "optimizer.lr",
    }


def test_a_default_that_changed_between_jobs_is_a_column(tmp_path):
    tiny, large = ({"name": name, "lr": lr} for name, lr in (("tiny", 0.004), ("vit_b_32", 1e-4)))
    assert columns_of(tmp_path / "a", settings(backbone=tiny), settings(backbone={**tiny, "lr": 0.001})) == {
        "backbone.lr"
    }
    assert columns_of(tmp_path / "b", settings(backbone={**tiny, "lr": 0.001}), settings(backbone=large)) == {
        "backbone",
        "backbone.lr",
    }


@pytest.mark.parametrize(("init", "columns"), [("marian", set()), ("fan_in", {"backbone.translator_init"})])
def test_a_key_that_came_later_is_a_column_where_it_changes_what_was_done_before(tmp_path, init, columns):
    older, newer = (
        {"name": "tiny", "lr": 0.004},
        {"name": "tiny", "lr": 0.004, "translator_init": init, "translator_norm": "post"},
    )
    assert (
        columns_of(
            tmp_path, settings(seed=1, backbone=older), settings(seed=2, backbone=newer, objective="val/recall@1")
        )
        == columns
    )


def test_a_model_without_translator_has_no_setting_of_it(tmp_path):
    older, newer = (
        {"name": "tiny", "lr": 0.004},
        {"name": "tiny", "lr": 0.004, "translator_init": "fan_in", "translator_norm": "pre"},
    )
    clip, decoded = {"name": "clip"}, {"name": "v534dim"}
    assert (
        columns_of(
            tmp_path / "a", settings(seed=1, backbone=older, model=clip), settings(seed=2, backbone=newer, model=clip)
        )
        == set()
    )
    assert columns_of(
        tmp_path / "b", settings(backbone=newer, model=clip), settings(backbone=newer, model=decoded)
    ) == {"model"}


def test_whether_a_report_was_drawn_is_no_setting(tmp_path):
    assert columns_of(tmp_path, settings(seed=1, report=True), settings(seed=2, report=False)) == set()


@pytest.mark.parametrize(
    "chosen", ["loss=normsv5", "backbone=vit_b_32", "optimizer=adamw", "trainer=ddp", "data=emoji"]
)
def test_defaults_are_those_that_hydra_composes(composed, chosen):
    group, _, name = chosen.partition("=")
    composition, found = flat(as_dict(composed(chosen))[group]), flat(choice_defaults(group, name))
    assert set(found) == set(composition)
    assert all(value in (composition[key], "${backbone.lr}") for key, value in found.items())


def test_what_follows_from_an_unknown_choice_is_no_column_unless_it_was_given(tmp_path):
    for loss, eps in (("a", 0.1), ("b", 0.2)):
        write_job(tmp_path / "follows", loss, {**settings(loss), "loss": {"name": loss, "eps": eps}}, done(0.5))
        write_job(
            tmp_path / "given",
            loss,
            {**settings(loss), "loss": {"name": loss, "eps": eps}},
            done(0.5),
            (f"loss={loss}", f"loss.eps={eps}"),
        )
    assert "loss.eps" not in rows_of(tmp_path / "follows")[0]
    assert [(row["loss"], row["loss.eps"]) for row in rows_of(tmp_path / "given")] == [("a", "0.1"), ("b", "0.2")]


def test_a_value_that_refers_to_another_key_is_no_column(tmp_path):
    for name, rate in (("a", 0.1), ("b", 0.2)):
        write_job(tmp_path, name, settings(lr="${backbone.lr}", backbone={"lr": rate}), done(0.5))
    assert [key for key in rows_of(tmp_path)[0] if "lr" in key] == ["backbone.lr"]
    assert [job.config["optimizer.lr"] for job in read_jobs(tmp_path)] == [0.1, 0.2]


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


def test_a_table_without_failures_says_nothing_of_them(tmp_path):
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


def test_a_sweep_where_nothing_ended_is_still_told(tmp_path):
    write_job(tmp_path, "a", settings(), {"status": "failed", "reason": "x"})
    assert [path.name for path in write_comparison(tmp_path)] == ["comparison.csv", "comparison.md", "comparison.png"]


def test_a_folder_without_jobs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no jobs of a sweep"):
        write_comparison(tmp_path)
    assert list(tmp_path.iterdir()) == []
