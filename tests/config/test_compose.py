"""The composed configuration: typed, checked, documented, hashed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from model.config.checks import view_count
from model.config.compose import CONF, config_hash, groups, known_keys
from model.errors import ConfigError
from model.views.recipes import plan_views

FILES = sorted(CONF.rglob("*.yaml"))


def test_defaults_are_those_of_the_contract(composed):
    config = composed()
    assert (config.seed, config.data.batch_size, config.data.val_size) == (0, 128, 1000)
    assert (config.model.name, config.backbone.name, config.data.name, config.monitor.name) == (
        "v534dim",
        "tiny",
        "scenes",
        "watch",
    )
    assert (config.loss.targets, config.loss.mask, config.loss.axes, config.loss.evaluation) == (
        "diagonal",
        "none",
        "all",
        "auto",
    )
    assert (config.loss.reduction, config.loss.normalize) == ("mean", True)


@pytest.mark.slow
def test_every_choice_composes(composed):
    """Each composition has one choice of each group, because a composition takes half a second."""
    left_out = ("experiment", "trainer", "model", "data/transforms")
    chosen = {group: choices for group, choices in groups().items() if group not in left_out}
    for number in range(max(map(len, chosen.values()))):
        names = {group: choices[number % len(choices)] for group, choices in chosen.items()}
        extra = {"coco": ["data.root=somewhere"], "shards": ["data.captions=3"]}.get(names["data"], [])
        config = composed(*(f"{group}={choice}" for group, choice in names.items()), *extra)
        assert {group: getattr(config, group).name for group in names} == names


@pytest.mark.parametrize(
    ("group", "choice"), [(group, choice) for group in ("trainer", "model") for choice in groups()[group]]
)
def test_every_trainer_and_model_composes(composed, group, choice):
    assert getattr(composed(f"{group}={choice}"), group).name == choice


@pytest.mark.parametrize("choice", groups()["experiment"])
def test_every_experiment_composes(composed, choice):
    composed(f"experiment={choice}", *(["data.root=somewhere"] if choice.startswith("original") else []))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_a_file_says_in_line_1_what_it_is(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert len(lines[0]) > 15 or lines[1].startswith("# ")


def test_every_key_is_described_where_it_gets_its_value():
    """A key's line carries a comment in at least one file of its group."""
    described = {
        f"{'.'.join(path.parent.relative_to(CONF).parts)}.{match.group(1)}".removeprefix(".")
        for path in FILES
        for match in re.finditer(r"^(\w+):[^#\n]*#.+$", path.read_text(), flags=re.M)
    }
    missing = [key for key in known_keys() if not key.endswith(".name") and key not in described]
    assert missing == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("analysis.samples=1", "analysis.samples=1 is too small; allowed: 2 or more"),
        ("analysis.cka_samples=3", "analysis.cka_samples=3 is too small; allowed: 4 or more"),
        ("analysis.probe_samples=1", "analysis.probe_samples=1 is too small; allowed: 2 or more"),
        ("analysis.examples=-1", "analysis.examples=-1 is too small; allowed: 0 or more"),
        ("analysis.resamples=0", "analysis.resamples=0 is too small; allowed: 1 or more"),
    ],
)
def test_an_analysis_of_too_little_is_refused(composed, change, words):
    with pytest.raises(ConfigError) as error:
        composed(change)
    assert str(error.value) == words


def test_the_hash_names_what_a_run_computes(composed):
    assert config_hash(composed()) == config_hash(composed("ckpt_path=last", "evaluate=[val]"))
    assert (
        len({config_hash(composed(*change)) for change in ([], ["seed=1"], ["loss=norms"], ["optimizer.lr=0.5"])}) == 4
    )


@pytest.mark.parametrize("model", ["clip", "v534dim", "v5335dim"])
@pytest.mark.parametrize("captions", [1, 2, 5])
def test_the_checks_count_views_as_the_model_makes_them(composed, model, captions):
    config = composed(f"model={model}", f"model.captions={captions}")
    assert view_count(config.model) == len(plan_views(model, captions).names)


def test_the_monitors_presets(composed):
    watch, guard, off = (composed(f"monitor={name}").monitor for name in ("watch", "guard", "off"))
    assert composed().monitor == watch
    assert (watch.enabled, watch.clip, watch.clip_above, watch.on_nonfinite, watch.max_skips) == (
        True,
        None,
        None,
        "skip",
        10,
    )
    assert (watch.every_n_steps, watch.vanishing, watch.exploding) == (10, 1e-7, 100.0)
    assert replace(guard, name="watch", clip=None) == watch
    assert guard.clip == 1.0
    assert not off.enabled


def test_a_seed_of_zero_is_a_seed(composed):
    assert composed("seed=0").seed == 0


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["loss=stock", "loss.axes=first"], "loss.axes=first"),
        (["optimizer.betas=[0.9]"], "optimizer.betas"),
        (["evaluate=[dev]"], "evaluate=dev is not known; allowed: train, val, test"),
        (["trainer.precision=32"], "trainer.precision=32 is not known"),
        (["schedule=plateau", "schedule.factor=1.5"], "schedule.factor=1.5"),
        (["data.train_size=100"], "data.train_size=100 is smaller than a batch"),
        (
            ["trainer.strategy=fsdp"],
            "trainer.strategy=fsdp hides gradients from the monitor; allowed: auto, ddp, ddp_spawn, or any with "
            "monitor=off",
        ),
        (["trainer.strategy=deepspeed_stage_2"], "trainer.strategy=deepspeed_stage_2 hides gradients from the monitor"),
    ],
)
def test_values_out_of_range_name_themselves(composed, overrides, text):
    with pytest.raises(ConfigError, match=re.escape(text)):
        composed(*overrides)


def test_without_the_monitor_any_strategy_may_be_asked_for(composed):
    assert composed("trainer.strategy=fsdp", "monitor=off").trainer.strategy == "fsdp"
