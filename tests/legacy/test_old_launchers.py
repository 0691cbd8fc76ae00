"""Commands of the old training scripts: their translation, its notes, and mistakes."""

from __future__ import annotations

import runpy
import shlex
import sys

import pytest

from model.legacy.__main__ import main
from model.legacy._old_command import COCO
from tests.conftest import some

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


def test_the_translation_of_a_command(printed):
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
            "normlogits=True means nothing with logitsversion=12, which never scaled rows",
        ),
        ("--batch_size 8 --train_batch_size 9", "train_batch_size=9 means nothing with batch_size=8"),
        (
            "transformer_width=64 embed_dim=32",
            "embed_dim=32 means nothing with transformer_width=64: every view has the width of the text tower",
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
    printed = capsys.readouterr()
    assert message in printed.err
    assert len(printed.err.splitlines()) <= 2
    assert printed.out == ""


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # this module has imported `main`
def test_the_command_of_the_shell(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["model.legacy", "--logitsversion", "7"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("model.legacy", run_name="__main__", alter_sys=False)
    assert end.value.code == 0
    assert "loss=norms" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "usage: python -m model.legacy" in capsys.readouterr().out
