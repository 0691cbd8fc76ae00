"""The commands on a run's page and in a sweep's comparison repeat the same run and the same sweep."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from model.config.compose import CONF
from model.report.commands import as_value, run_command, sweep_command
from model.report.run_files import Run, read_run
from model.sweep.callback import SweepComparison
from tests.run.sweeps import sweep_here

OWN = {
    "one": "defaults: [{override /loss: einsum}]\nloss: {scale_init: auto}\ntrainer: {max_epochs: 1}\n",
    "two": "defaults: [{override /loss: stock}]\ntrainer: {max_epochs: 1}\n",
}
TYPED = (
    "experiment=one,two",
    "model=clip",
    "analysis=off",
    "trainer.max_epochs=1",
    "data.tokenizer=null",
    "loss.eps=1e-7",
    "monitor.clip=0.5,1.0",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with experiments of a user and a sweep over them. Both names contain a space, at which a shell would
    split.
    """
    place = tmp_path_factory.mktemp("commands")
    experiments = place / "own files" / "experiment"
    experiments.mkdir(parents=True)
    for name, text in OWN.items():
        (experiments / f"{name}.yaml").write_text(f"# @package _global_\n{text}")
    assert sweep_here(place, "the sweep", *TYPED, f"hydra.searchpath=[file://{place}/own files]") == 0
    return place


@pytest.mark.slow
def test_the_command_of_a_job_makes_that_job_alone(place):
    jobs = [read_run(path.parents[1]) for path in place.glob("the sweep/*/.hydra/config.yaml")]
    assert len(jobs) == 4
    for job in jobs:
        program, script, *arguments = shlex.split(run_command(job))
        assert (program, script) == ("python", "train.py")
        assert [argument for argument in arguments if "hydra" in argument] == [
            f"hydra.searchpath=[file://{place}/own files]"
        ]
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            assert OmegaConf.to_container(compose("train", arguments), resolve=True) == job.config


@pytest.mark.slow
def test_a_folder_and_a_file_named_by_options_are_in_both_commands(tmp_path):
    own = tmp_path / "own files"
    (own / "experiment").mkdir(parents=True)
    (own / "experiment" / "one.yaml").write_text(f"# @package _global_\n{OWN['one']}")
    (own / "mine.yaml").write_text("defaults: [train, _self_]\ntrainer: {max_epochs: 1}\n")
    options = [f"--config-dir={own}", "--config-name=mine"]
    assert (
        sweep_here(tmp_path, "sweep", "experiment=one", "model=clip", "analysis=off", "report=false", options=options)
        == 0
    )
    (job,) = (read_run(path.parents[1]) for path in tmp_path.glob("sweep/*/.hydra/config.yaml"))
    for command in (shlex.split(run_command(job))[2:], shlex.split(sweep_command(tmp_path / "sweep"))[3:]):
        assert command[:2] == options
        assert "experiment=one" in command


@pytest.mark.slow
def test_the_command_of_a_sweep_continues_it(place, monkeypatch):
    monkeypatch.chdir(place)
    text = (place / "the sweep" / "comparison.md").read_text()
    assert text.startswith("| rank | loss | loss.scale_init | monitor.clip |"), "includes a key of the experiment"
    command = sweep_command(place / "the sweep")
    assert f"```sh\n{command}\n```\n" in text
    program, script, sweeping, *arguments = shlex.split(command)
    assert (program, script, sweeping) == ("python", "train.py", "-m")
    assert set(TYPED) < set(arguments)
    folders = {path.name for path in (place / "the sweep").iterdir()}
    assert sweep_here(place, "the sweep", *arguments) == 0
    assert {path.name for path in (place / "the sweep").iterdir()} == folders
    assert (place / "the sweep" / "comparison.md").read_text().partition("```sh")[0] == text.partition("```sh")[0]


def write_sweep(folder: Path, task: list[str], hydra: list[str]) -> Path:
    """Writes what Hydra stores of a sweep's command."""
    folder.mkdir()
    (folder / "multirun.yaml").write_text(
        yaml.safe_dump({"hydra": {"sweep": {"dir": "${now:%Y}"}, "overrides": {"task": task, "hydra": hydra}}})
    )
    return folder


def test_the_folder_of_a_sweep_is_the_one_that_it_is_in(tmp_path, monkeypatch):
    """The folder can have been named by the time of the start, or moved after the sweep."""
    folder = write_sweep(
        tmp_path / "here", ["loss=a,b"], ["hydra/launcher=joblib", "hydra.sweep.dir=there", "hydra.mode=MULTIRUN"]
    )
    assert sweep_command(folder) == f"python train.py -m loss=a,b hydra/launcher=joblib hydra.sweep.dir={folder}"
    monkeypatch.chdir(tmp_path)
    assert sweep_command(folder).endswith(" hydra.sweep.dir=here")


def test_a_folder_with_special_characters_of_hydra_is_quoted():
    assert [as_value(text) for text in ("multirun/a-b_1", "a,b", 'a "b" c')] == [
        "multirun/a-b_1",
        '"a,b"',
        '"a \\"b\\" c"',
    ]


def test_the_command_is_stored_even_if_the_sweeper_does_not_store_it(tmp_path, monkeypatch):
    """For example, the sweeper of a search does not store the command."""
    monkeypatch.setattr("model.sweep.callback.compare", lambda folder: None)
    overrides = {"task": ["experiment=search"], "hydra": ["hydra.sweeper.n_trials=3"]}
    SweepComparison().on_multirun_end(
        OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}, "overrides": overrides}})
    )
    assert (
        sweep_command(tmp_path)
        == f"python train.py -m experiment=search hydra.sweeper.n_trials=3 hydra.sweep.dir={tmp_path}"
    )


@pytest.mark.parametrize("text", [None, "", "[", "hydra: {}", "hydra: {overrides: {task: null}}", "- a"])
def test_a_sweep_whose_command_is_not_stored_has_none(tmp_path, text):
    if text is not None:
        (tmp_path / "multirun.yaml").write_text(text)
    assert sweep_command(tmp_path) == ""


def test_a_command_that_continues_a_run_names_its_folder():
    hydra = ["hydra.run.dir=a", "hydra/job_logging=none"]
    assert run_command(Run(Path("a"), overrides=["loss=b"], hydra_overrides=hydra)) == "python train.py loss=b"
    assert (
        run_command(Run(Path("a"), overrides=["ckpt_path=last"], hydra_overrides=hydra))
        == "python train.py ckpt_path=last hydra.run.dir=a"
    )


def test_a_run_without_its_configuration_has_no_command():
    assert run_command(Run(Path("a"))) == ""
    assert run_command(Run(Path("a"), config={"seed": 0})) == "python train.py"
