"""Towers that are frozen or have a learning rate of their own, in whole runs."""

from __future__ import annotations

import shutil
import signal

import pytest
import torch

from model.build import build_parts
from model.checkpoint.files import checkpoint_path
from model.config.changes import check_changes
from model.errors import ConfigError
from model.optim import make_optimizer
from model.run import run
from model.training.tower_parameters import scaled_parameters, tower_parameters
from tests.conftest import SMALL
from tests.forked import together, train_until
from tests.run.test_changed_settings import past
from tests.run.test_processes import train_here
from tests.run.test_run import assert_same_run, read_csv, weights

PREFIXES = {
    "image": ("encoder.towers.vision.", "encoder.towers.visual_projection."),
    "text": ("encoder.towers.text.", "encoder.towers.text_projection."),
    "translator": ("encoder.states.",),
    "projection": ("encoder.projection.",),
}
BOTH = ("backbone.freeze=[image,translator]", "optimizer.lr_scale={text: 0.1, logit_scale: 0.5}")
DROPS = "backbone.translator_dropout=0.5"


def initial(config, folder) -> dict[str, torch.Tensor]:
    """The weights with which a run begins."""
    torch.manual_seed(config.seed)
    return {name: w.clone() for name, w in build_parts(config, folder, None).module.state_dict().items()}


def test_frozen_weights_are_bit_equal_and_each_tower_has_its_rate(small, tmp_path):
    """The rates of the towers keep their ratios at every step of the schedule."""
    config = small(*BOTH, DROPS)
    run(config, tmp_path / "run")
    before, after = initial(config, tmp_path / "other"), weights(tmp_path / "run")
    for tower, prefixes in PREFIXES.items():
        names = [name for name in before if name.startswith(prefixes)]
        equal = [torch.equal(before[name], after[name]) for name in names]
        assert all(equal) if tower in ("image", "translator") else not all(equal), tower
    rows = [row for row in read_csv(tmp_path / "run") if row["train/lr"]]
    rates = [float(row["train/lr"]) for row in rows]
    assert len(set(rates)) > 2
    for column, factor in (("text", 0.1), ("projection", 1.0), ("logit_scale", 0.5)):
        assert [float(row[f"train/lr_{column}"]) for row in rows] == pytest.approx([factor * rate for rate in rates])
    assert {"train/lr_image", "train/lr_translator", "grad_tower/image/norm"}.isdisjoint(rows[0])
    saved = torch.load(checkpoint_path(tmp_path / "run", "last"), weights_only=True)["optimizer_states"][0]
    assert sum(len(group["params"]) for group in saved["param_groups"]) == len(
        [name for name in before if name.startswith((*PREFIXES["text"], *PREFIXES["projection"]))]
    ) + len(["logit_scale"])


def test_a_frozen_encoder_decoder_drops_nothing_and_a_trained_one_does(small, tmp_path):
    """Also after a call of train(), as after a validation."""
    encoder = build_parts(small(BOTH[0], DROPS), tmp_path, None).module.train().encoder
    assert {module.training for module in encoder.states.modules()} == {False}
    assert encoder.training
    assert encoder.towers.text.training
    encoder = build_parts(small(DROPS), tmp_path, None).module.train().encoder
    assert {module.training for module in encoder.states.modules()} == {True}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "lion"])
def test_a_factor_scales_the_step_of_its_tower(small, tmp_path, optimizer):
    """One step without decay: the change of every weight is the factor times the change without the factor."""
    changes = []
    for factor in (1.0, 0.25):
        arguments = (f"optimizer={optimizer}", "optimizer.weight_decay=0", f"optimizer.lr_scale={{text: {factor}}}")
        config = small(*arguments, "optimizer.lr=1e-2")
        torch.manual_seed(0)
        module = build_parts(config, tmp_path, None).module
        names = tuple(config.optimizer.lr_scale)
        made = make_optimizer(module, config.optimizer, scaled_parameters(module.encoder, module.logit_scale, names))
        before = {name: p.detach().clone() for name, p in module.named_parameters()}
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
        made.step()
        changes.append({name: p.detach() - before[name] for name, p in module.named_parameters()})
    for name, change in changes[0].items():
        factor = 0.25 if name.startswith(PREFIXES["text"]) else 1.0
        torch.testing.assert_close(changes[1][name], factor * change, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("loss=stock", "backbone.freeze=[translator]"),
            r"^backbone\.freeze=translator is not known; allowed: image, text, projection$",
        ),
        (
            ("loss=stock", "optimizer.lr_scale={translator: 2}"),
            r"^optimizer\.lr_scale=translator is not known; allowed",
        ),
        (
            ("loss=stock", "backbone.freeze=[image,text,projection]"),
            r"leaves no tower to train; allowed: at most 2 of ",
        ),
    ],
)
def test_towers_that_the_loss_does_not_read_are_refused(small, tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        build_parts(small(*overrides), tmp_path, None)


def test_a_frozen_tower_with_random_weights_is_warned_of(small, tmp_path, caplog):
    build_parts(small("backbone.freeze=[image,projection]"), tmp_path, None)
    assert "backbone.freeze=[image] keeps random weights" in caplog.text, "the projection starts as the identity"


def test_a_continued_run_cannot_change_them(small):
    for override in ("backbone.freeze=[text]", "optimizer.lr_scale={text: 0.1}", "init_from=else"):
        with pytest.raises(ConfigError, match="was written with other settings"):
            check_changes(small(override), past(small()), 1)
    assert check_changes(small(*BOTH), past(small(*BOTH)), 1) == []


@pytest.mark.slow
def test_a_killed_run_continues_with_the_result_of_an_uninterrupted_run(small, tmp_path):
    """With all three keys. The source of the weights is gone by then."""
    run(small("loss=stock", "model=clip"), tmp_path / "pairs")
    more = (
        *BOTH,
        f"init_from={tmp_path / 'pairs'}",
        DROPS,
        "trainer.checkpoint_every_n_steps=2",
        "trainer.max_epochs=3",
    )
    run(small(*more), tmp_path / "reference")
    killed = tmp_path / "killed"
    arguments = [*SMALL, *more, f"hydra.run.dir={killed}"]
    assert train_until(lambda module: module.global_step == 4, tmp_path / "output", *arguments) == -signal.SIGKILL
    shutil.rmtree(tmp_path / "pairs")
    run(small(*more, "ckpt_path=last"), killed)
    assert_same_run(tmp_path / "reference", killed)
    assert (tmp_path / "reference" / "initial.pt").stat().st_size == (killed / "initial.pt").stat().st_size


@pytest.mark.slow
def test_two_processes_start_from_the_same_weights_and_train_as_one(small, tmp_path):
    """Only the first one prints the list."""
    run(small("loss=stock", "model=clip"), tmp_path / "pairs")
    more = (*BOTH, f"init_from={tmp_path / 'pairs'}", "data.train_size=48")
    two = [*SMALL, *more, "trainer.strategy=ddp", "trainer.devices=2", f"hydra.run.dir={tmp_path / 'two'}"]
    together(lambda: train_here(*two), tmp_path)
    said = [(tmp_path / f"said_{rank}").read_text().count("first weights from") for rank in (0, 1)]
    assert said == [1, 0]
    run(small(*more, "data.batch_size=16"), tmp_path / "one")
    for key in ("train/loss", "train/lr_text", "val/loss"):
        figures = [[float(row[key]) for row in read_csv(tmp_path / name) if row[key]] for name in ("two", "one")]
        assert figures[0] == pytest.approx(figures[1], rel=1e-3), key
    trained, began = (
        weights(tmp_path / "two"),
        torch.load(tmp_path / "two" / "initial.pt", weights_only=True)["weights"],
    )
    names = [name for name in began if name.startswith(PREFIXES["image"])]
    assert names
    assert all(torch.equal(trained[name], began[name]) for name in names)


def test_the_towers_of_an_encoder(small, tmp_path):
    """Every trained parameter of the encoder belongs to one tower."""
    encoder = build_parts(small(), tmp_path, None).module.encoder
    towers = tower_parameters(encoder)
    assert list(towers) == ["image", "text", "translator", "projection"]
    found = [id(parameter) for parameters in towers.values() for parameter in parameters]
    assert sorted(found) == sorted(id(p) for p in encoder.parameters() if p.requires_grad)
