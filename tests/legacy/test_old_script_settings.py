"""The settings of the old training scripts: what each flag and each script sets today."""

from __future__ import annotations

import itertools
import shlex
from dataclasses import asdict

import pytest

from model.config.checks import loss_options, view_count
from model.config.compose import loss_family
from model.config.old_flags import ALL_FLAGS, ENHANCED_FLAGS, LOSSES, OLD_FLAGS
from model.legacy._old_command import new_command
from model.legacy._old_command_line import read
from model.legacy._old_scripts import SCRIPTS, find_script
from model.loss_options import LossOptions, check_options
from tests.conftest import some

# A value of every flag that is not the default of today.
VALUES = {
    "learning_rate": "2e-4", "logitsversion": "5", "normlogits": "False", "projection": "iinv", "prune": "True",
    "exactlabels": "1",
    "logvariance": "True", "maskLosses": "2", "meanloss": "1", "adam_epsilon": "1e-6", "warmup_steps": "100",
    "weight_decay": "0.02",
    "total_steps": "1000", "batch_size": "12", "train_batch_size": "12", "eval_batch_size": "32",
    "eval_splits": "['val', 'test']",
    "embed_dim": "256", "transformer_width": "256", "transformer_heads": "4", "transformer_layers": "5",
    "context_length": "32",
    "vocab_size": "49408", "precision": "bf16", "JSE": "1", "gumbel": "True", "dir": "some folder",
    "annotations": "elsewhere", "log_path": "logs",
    "devices": "2", "accelerator": "cpu", "codeversion": "6", "num_trials": "3", "debug": "False",
    "enable_gradient_monitoring": "True",
    "enable_activation_monitoring": "True", "use_stable_loss": "True", "stable_loss_version": "3",
    "gradient_clip_value": "0.5",
    "improved_activation": "mish",
}  # fmt: skip
# The flags that have no meaning today.
MEANINGLESS = ["prune", "logvariance", "eval_batch_size", "JSE", "annotations", "log_path", "codeversion"]
MEANINGLESS += ["num_trials", "debug"]


@pytest.mark.parametrize("script", some(list(SCRIPTS), 4))
def test_every_flag_of_a_script_sets_its_keys(script, printed, accepted):
    flags = SCRIPTS[script].flags
    assert set(VALUES) == set(ALL_FLAGS)
    overrides, notes = printed(f"{script} {shlex.join(f'--{name}={VALUES[name]}' for name in flags)}")
    config = accepted(overrides)
    assert (config.optimizer.lr, config.optimizer.eps, config.optimizer.weight_decay) == (2e-4, 1e-6, 0.02)
    assert (config.schedule.warmup, config.trainer.max_steps, config.trainer.max_epochs) == (0.1, 1000, None)
    assert (config.data.batch_size, config.data.vocab_size, config.data.root, config.evaluate) == (
        12,
        49408,
        "some folder",
        ["val", "test"],
    )
    assert (
        config.backbone.text_width,
        config.backbone.text_heads,
        config.backbone.text_layers,
        config.backbone.context_length,
    ) == (256, 4, 5, 32)
    assert (config.trainer.precision, config.trainer.devices, config.trainer.accelerator) == ("bf16-mixed", 2, "cpu")
    assert config.model.projection == "iinv"
    for name in MEANINGLESS:
        assert sum(note.startswith(f"{name}={VALUES[name]} means nothing now: ") for note in notes) == 1, name
    if script == "trainclip_v534DIM":
        loss = config.loss
        assert (loss.name, loss.normalize, loss.targets, loss.mask, loss.axes, loss.reduction) == (
            "loss6",
            False,
            "soft",
            "extremes",
            "first",
            "sum",
        )
        assert config.model.eot_select == "gumbel"
    if script == "example_enhanced_training":
        assert (config.loss.name, config.monitor.clip, config.monitor.activations) == ("stable_distance", 0.5, True)
        assert config.backbone.translator_activation == "mish"
        assert any(note.startswith("logitsversion=5 means nothing with use_stable_loss") for note in notes)


def test_every_combination_of_loss_flags_passes_the_check_of_losses(composed):
    """Calls the function that the configuration calls; composing each configuration would take longer."""
    versions, switches = map(str, LOSSES), [("normlogits", "False"), ("exactlabels", "1"), ("meanloss", "True")]
    defaults, count = asdict(loss_options(composed().loss)), 0
    for version, mask, *switched_on in itertools.product(versions, "01234", *([False, True] for _ in switches)):
        flags = {"logitsversion": version, "maskLosses": mask} | dict(
            pair for pair, on in zip(switches, switched_on, strict=True) if on
        )
        for script in SCRIPTS.values():
            extra = {"use_stable_loss": "False"} if script.stable else {}
            command = new_command(script, flags | extra)
            keys = {
                key.removeprefix("loss."): value for key, value in command.overrides.items() if key.startswith("loss.")
            }
            keys["normalize"] = keys.get("normalize", "true") == "true"
            keys.pop("scale_cap", None)
            options = defaults | {"reduction": "sum" if script.experiment else "mean"} | keys
            loss, batch_size = command.value("loss"), int(command.value("data.batch_size"))
            check_options(loss, loss_family(loss), LossOptions(**options), views=script.views, batch_size=batch_size)
            count += 1
    assert count == 20 * 5 * 8 * 4


def test_old_defaults_are_printed_where_todays_differ(printed, accepted):
    overrides, notes = printed("")
    assert notes == ["old defaults that differ from today's: logitsversion=0, projection=inv, batch_size=64"]
    config = accepted(overrides)
    assert (config.loss.name, config.loss.normalize, config.loss.mask, config.loss.axes) == (
        "einsum",
        True,
        "none",
        "all",
    )
    assert (config.model.projection, config.data.batch_size, config.loss.reduction) == ("inv", 64, "sum")


@pytest.mark.parametrize("script", some(["trainclip_v534DIM", "trainclip_v5335DIM"], 2))
def test_the_settings_one_by_one_are_those_of_the_experiment(script, composed, tmp_path):
    settings = {"loss": "normsv5"} | SCRIPTS[script].settings
    one_by_one = [f"{key}={value}" for key, value in settings.items()]
    root = f"data.root={tmp_path}"
    assert asdict(composed(*one_by_one, root)) == asdict(
        composed(f"experiment={SCRIPTS[script].experiment}", "loss=normsv5", root)
    )


@pytest.mark.parametrize(
    "name", some(["trainclip_v53_baseline", "trainclip_v534DIM", "trainclip_v5335DIM", "example_enhanced_training"], 4)
)
def test_a_script_has_its_views_and_todays_defaults(name, composed):
    script = SCRIPTS[name]
    settings = script.settings
    config = composed(f"model={settings['model']}", f"model.captions={settings.get('model.captions', 3)}")
    assert view_count(config.model) == script.views
    loss = config.loss
    today = (loss.name, loss.mask, loss.axes, loss.targets, loss.normalize, config.model.projection)
    keys = ("loss", "loss.mask", "loss.axes", "loss.targets", "loss.normalize", "model.projection")
    assert today == tuple({"true": True}.get(script.defaults[key], script.defaults[key]) for key in keys)


def test_only_the_enhanced_script_takes_its_flags():
    assert set(find_script("enhanced").flags) == set(ALL_FLAGS)
    assert set(find_script("v534").flags) == set(OLD_FLAGS)
    assert not set(OLD_FLAGS) & set(ENHANCED_FLAGS)
    assert read([])[0].name == "trainclip_v534DIM"
