"""Commands of the old training scripts: what replaces them, and that train.py takes it."""

from __future__ import annotations

import itertools
import runpy
import shlex
import sys
from dataclasses import asdict

import pytest

from model.config.checks import loss_options, view_count
from model.config.compose import loss_family
from model.config.old_flags import ALL_FLAGS, ENHANCED_FLAGS, LOSSES, OLD_FLAGS
from model.legacy.__main__ import main
from model.legacy._old_command import COCO, new_command
from model.legacy._old_scripts import SCRIPTS, find_script
from model.legacy._old_words import read
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
COMMANDS = [
    "v534",
    "v534 --logitsversion 12 --maskLosses 4 --projection None --precision 16",
    "v534 --exactlabels 1 --maskLosses 3 --meanloss True",
    "v534 --logitsversion -1 --maskLosses 1 --meanloss True --normlogits False --exactlabels 1",
    "v534 --logitsversion 11 --precision 8 --adam_epsilon 1e-8",
    "v5335 --exactlabels=1 --batch_size=500 --transformer_width 64 --transformer_heads 2",
    "baseline --logitsversion 7 --meanloss True",
    "enhanced stable_loss_version=2 maskLosses=1 normlogits=False enable_gradient_monitoring=False",
    "enhanced use_stable_loss=False logitsversion=12 improved_activation=elu",
    "enhanced precision=8",
    "baseline precision=8 projection=inv",
    "v534 --logitsversion 14 --maskLosses 4 --exactlabels 1 --precision 8 --dir data",
]


@pytest.fixture
def printed(capsys):
    """`printed("--logitsversion 7")` -> the words behind `python train.py`, and the notes."""

    def call(words: str) -> tuple[list[str], list[str]]:
        assert main(shlex.split(words)) == 0
        line, *notes = capsys.readouterr().out.splitlines()
        program, script, *overrides = shlex.split(line)
        assert (program, script) == ("python", "train.py")
        assert all(note.startswith("# ") for note in notes)
        return overrides, [note.removeprefix("# ") for note in notes]

    return call


@pytest.fixture
def accepted(composed, tmp_path):
    """The configuration of printed overrides, with this test's folder in the place of the data."""
    return lambda overrides: composed(*(override.replace(COCO, str(tmp_path)) for override in overrides))


def test_what_a_command_becomes(printed):
    overrides, notes = printed("--logitsversion 11 --normlogits True --projection inv --precision 16 --batch_size 6")
    expected = [
        "experiment=original_v534dim",
        f"data.root={COCO}",
        "loss=normsv5",
        "loss.normalize=true",
        "model.projection=inv",
    ]
    assert sorted(overrides) == sorted([*expected, "trainer.precision=16-mixed", "data.batch_size=6"])
    assert notes == []


@pytest.mark.parametrize("form", ["--{} {}", "--{}={}", "{}={}"])
def test_the_forms_of_flags_and_scripts_mean_the_same(form, printed):
    flags = " ".join(
        form.format(key, value)
        for key, value in (("logitsversion", "7"), ("precision", "'bf16'"), ("meanloss", "true"))
    )
    names = (
        "trainclip_v5335DIM",
        "trainclip_v5335DIM.py",
        "model/trainclip_v5335DIM.py",
        "v5335",
        "python trainclip_v5335DIM.py",
    )
    answers = [printed(f"{name} {flags}") for name in names] + [printed(f"--script v5335 {flags}")]
    assert answers == answers[:1] * len(answers)
    assert {"experiment=original_v5335dim", "loss=norms", "trainer.precision=bf16-mixed", "loss.axes=first"} <= set(
        answers[0][0]
    )


@pytest.mark.parametrize("command", some(COMMANDS, 6))
def test_a_printed_command_is_accepted(command, printed, accepted):
    accepted(printed(command)[0])


@pytest.mark.parametrize("script", some(list(SCRIPTS), 4))
def test_every_flag_at_once_is_accepted_and_arrives(script, printed, accepted):
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
    for name in (
        "prune",
        "logvariance",
        "eval_batch_size",
        "JSE",
        "annotations",
        "log_path",
        "codeversion",
        "num_trials",
        "debug",
    ):
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
        assert any(note.startswith("logitsversion=5 means nothing beside use_stable_loss") for note in notes)


def test_every_combination_of_losses_and_their_options_passes_the_check_of_losses(composed):
    """By the function that the configuration calls, as composing takes longer."""
    versions, switches = map(str, LOSSES), [("normlogits", "False"), ("exactlabels", "1"), ("meanloss", "True")]
    defaults, count = asdict(loss_options(composed().loss)), 0
    for version, mask, *chosen in itertools.product(versions, "01234", *([False, True] for _ in switches)):
        given = {"logitsversion": version, "maskLosses": mask} | dict(
            pair for pair, on in zip(switches, chosen, strict=True) if on
        )
        for script in SCRIPTS.values():
            extra = {"use_stable_loss": "False"} if script.stable else {}
            command = new_command(script, given | extra)
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


@pytest.mark.parametrize(
    ("words", "notes"),
    [
        (
            "--maskLosses 4",
            "loss.reduction=sum, the old value, is refused: loss.mask=raw divides by B^(n-1) itself; "
            "loss.reduction=mean",
        ),
        ("--exactlabels 1", "data.batch_size=64 is refused today: 64^6 tuples do not fit into memory; 35 is the most"),
        (
            "--maskLosses 3 --meanloss 1",
            "loss.axes=first is refused today: loss.mask=sigmoid has no softmax, and so no axes",
        ),
        (
            "logitsversion=-1 maskLosses=1",
            "loss.mask=learned is refused today: loss=pairwise has scores of pairs, so there are no tuples to weight",
        ),
        ("enhanced --normlogits 0", "loss.normalize=false is refused today: loss=stable_norm always scales rows"),
        ("--precision 8", "precision=8 chose the optimizer; the weights are trained in 32-true"),
        (
            "--logitsversion 12 --normlogits True",
            "normlogits=True means nothing beside logitsversion=12, which never scaled rows",
        ),
        ("--batch_size 8 --train_batch_size 9", "train_batch_size=9 means nothing beside batch_size=8"),
        (
            "transformer_width=64 embed_dim=32",
            "embed_dim=32 means nothing beside transformer_width=64: every view has the width of the text tower",
        ),
    ],
)
def test_a_note_names_each_difference(words, notes, printed):
    assert notes in printed(words)[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--logitsversion 19", "logitsversion=19 is not a value of this flag; allowed: a whole number, -1 to 18"),
        ("--normlogits maybe", "normlogits=maybe is not a value of this flag; allowed: True or False"),
        ("--precision 12", "precision=12 is not a value of this flag; allowed: 16, bf16, 32, 64, or 8"),
        ("--learning_rate -1", "learning_rate=-1 is not a value"),
        ("--transformer_width 100", "transformer_width=100 is not a value"),
        (
            "--transformer_heads 7",
            "transformer_heads=7 is not a value of this flag; allowed: a number that divides the width 512",
        ),
        (
            "--warmup_steps 10 --total_steps 10",
            "warmup_steps=10 is not a value of this flag; allowed: less than total_steps=10",
        ),
        ("--logitsverson 3", "did you mean logitsversion?"),
        ("--normlogits", "--normlogits has no value; allowed: --normlogits <value>"),
        ("--normlogits --prune True", "--normlogits has no value"),
        ("--prune True False", "False is neither a flag nor its value; allowed: "),
        (
            "--use_stable_loss True",
            "use_stable_loss is not a flag of trainclip_v534DIM; allowed: --script example_enhanced_training",
        ),
        ("trainclip_v999.py", "script=trainclip_v999.py is not known; allowed: trainclip_v534DIM"),
        ("--script v53", "script=v53 is not known"),
    ],
)
def test_a_mistake_is_at_most_two_lines(words, message, capsys):
    assert main(shlex.split(words)) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.splitlines()) <= 2
    assert said.out == ""


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # runpy, as this module has imported `main`
def test_the_command_of_the_shell(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["model.legacy", "--logitsversion", "7"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("model.legacy", run_name="__main__", alter_sys=False)
    assert ended.value.code == 0
    assert "loss=norms" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "usage: python -m model.legacy" in capsys.readouterr().out


def test_only_the_enhanced_script_takes_its_flags():
    assert set(find_script("enhanced").flags) == set(ALL_FLAGS)
    assert set(find_script("v534").flags) == set(OLD_FLAGS)
    assert not set(OLD_FLAGS) & set(ENHANCED_FLAGS)
    assert read([])[0].name == "trainclip_v534DIM"
