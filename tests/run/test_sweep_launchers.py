"""Search and parallel launch through Hydra's plugins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from model.config.compose import CONF, config_hash, job_hash, register_schemas
from tests.conftest import SMALL
from tests.run.sweeps import compared, contents, job_folder, sweep, sweep_apart

__all__ = ["sweep"]
CLIP = ("model=clip", "model.captions=1", "loss=stock", "trainer.max_epochs=1")


def composed_node(*overrides: str) -> DictConfig:
    """The composed configuration with Hydra's own part."""
    register_schemas()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return compose("train", list(overrides), return_hydra_config=True)


@pytest.mark.slow
def test_a_search_survives_jobs_that_fail_or_measure_nothing(sweep, tmp_path):
    """Grid of four: two rates are impossible, two runs do not validate; the study ends with the one that can be."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    grid = ("hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", "hydra.sweeper.direction=maximize")
    assert sweep(*CLIP, *grid, "optimizer.lr=choice(-1.0, 0.001)", "trainer.limit_val_batches=choice(0, 1.0)") == 1
    found = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())
    rows = compared(tmp_path / "sweep")
    assert [(row["ok"], row["failed"]) for row in rows] == [("1", "0"), ("1", "0"), ("0", "1"), ("0", "1")]
    assert found["best_value"] == float(rows[0]["val/recall@1"])
    assert found["best_params"] == {"optimizer.lr": 0.001, "trainer.limit_val_batches": 1.0}


@pytest.mark.slow
def test_a_search_continues_with_its_finished_trials(sweep, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    arguments = (
        "experiment=search",
        "hydra.sweeper.params={backbone.lr: 'interval(1e-4, 1e-2)'}",
        *CLIP,
        "evaluate=[]",
    )
    assert sweep(*arguments, "hydra.sweeper.n_trials=2") == 0
    jobs = sorted((tmp_path / "sweep").glob("stock_*"))
    before = [contents(job) for job in jobs]
    assert sweep(*arguments, "hydra.sweeper.n_trials=3") == 0
    assert [contents(job) for job in jobs] == before
    assert len(list((tmp_path / "sweep").glob("stock_*"))) == 3


@pytest.mark.slow
def test_jobs_side_by_side(tmp_path):
    """Worker processes train, and the exit code says that one job failed."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = sweep_apart(tmp_path / "sweep", "experiment=parallel", *CLIP, "optimizer.lr=0.001,-1.0")
    assert done.returncode == 1, done.stdout + done.stderr
    rows = compared(tmp_path / "sweep")
    assert [(row["optimizer.lr"], row["seeds"], row["failed"]) for row in rows] == [
        ("0.001", "0", "0"),
        ("-1.0", "", "1"),
    ]


@pytest.mark.slow
def test_jobs_of_a_cluster(tmp_path):
    """submitit's executor on this machine works as on a cluster: a pickled job, a process of its own."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    folder = tmp_path / "sweep"
    done = sweep_apart(folder, "hydra/launcher=submitit_local", *CLIP, "seed=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((job_folder(folder, "stock_seed1") / "summary.json").read_text())["status"] == "complete"
    assert [row["seeds"] for row in compared(folder)] == ["1"]


@pytest.mark.slow
def test_further_processes_of_a_job_run_the_sweep_too(composed, tmp_path):
    """The first job is done already: both processes skip it and train the second."""
    folder = tmp_path / "sweep"
    two = (*CLIP, "trainer.strategy=ddp", "trainer.devices=2")
    node = composed_node(*SMALL, *two, "seed=1")
    first = folder / f"stock_seed1_{job_hash(_root_=node)}"
    first.mkdir(parents=True)
    metrics = {"val/recall@1": 0.5, "test/recall@1": 0.5}
    known = config_hash(composed(*SMALL, *two, "seed=1"))
    (first / "summary.json").write_text(json.dumps({"status": "complete", "config_hash": known, "metrics": metrics}))
    before = contents(first)
    done = sweep_apart(folder, *two, "seed=1,2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(first) == before
    assert [row["seeds"] for row in compared(folder)] == ["1 2"]


def test_the_cluster_example_sets_its_resources():
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    launcher = composed_node("experiment=slurm", "hydra.launcher.partition=long").hydra.launcher
    assert launcher["_target_"].endswith("SlurmLauncher")
    assert (launcher.partition, launcher.timeout_min, launcher.max_num_timeout) == ("long", 240, 2)


@pytest.mark.parametrize("name", ["search", "parallel", "slurm"])
def test_an_example_shows_its_command(name):
    text = (Path(CONF) / "experiment" / f"{name}.yaml").read_text()
    assert f"python train.py -m experiment={name}" in text
