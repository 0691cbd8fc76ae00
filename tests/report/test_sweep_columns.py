"""Which keys are columns of a sweep's comparison: those that distinguish settings and do not follow from
another key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.config.compose import as_dict
from model.report.choices import choice_defaults
from model.report.sweep_jobs import comparable, read_jobs
from tests.report.sweep_folder import done, rows_of, settings, write_job


def test_only_what_varies_is_a_column(tmp_path):
    write_job(tmp_path, "a", settings("stock", 1, 0.001), done(0.5))
    write_job(tmp_path, "b", settings("stock", 2, 0.002, evaluate=["val"]), done(0.5))
    columns = list(rows_of(tmp_path)[0])
    assert columns[:4] == ["rank", "optimizer.lr", "seeds", "ok"]


def columns_of(sweep: Path, *configs: dict[str, Any]) -> set[str]:
    """Returns the columns of the comparison of these jobs that distinguish settings."""
    for place, config in enumerate(configs):
        write_job(sweep, str(place), config, done(0.5))
    columns = list(rows_of(sweep)[0])
    return set(columns[1 : columns.index("seeds")])


def with_loss(name: str, **keys: Any) -> dict[str, Any]:
    """Returns the configuration of a loss with these keys."""
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


def test_a_key_that_an_experiment_sets_is_a_column_even_if_only_one_choice_has_it(tmp_path):
    """The command line does not set it."""
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
def test_a_later_key_is_a_column_if_it_changes_what_older_jobs_did(tmp_path, init, columns):
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


def test_a_model_without_a_translator_has_no_column_of_the_translator(tmp_path):
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
    composition, defaults = comparable(as_dict(composed(chosen))[group]), comparable(choice_defaults(group, name))
    assert set(defaults) == set(composition)
    assert all(value in (composition[key], "${backbone.lr}") for key, value in defaults.items())


def test_a_key_that_follows_from_an_unknown_choice_is_a_column_only_if_it_was_typed(tmp_path):
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
