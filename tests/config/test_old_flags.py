"""The error for a flag of the old scripts names what replaces it today."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from model.command import command_line
from model.config.arguments import check_arguments
from model.config.checks import PROJECTIONS, SELECTIONS
from model.config.compose import groups, known_keys
from model.config.messages import two_lines, unknown_key
from model.config.old_flags import ALL_FLAGS, LOSSES, flag_hint
from model.config.trainer_checks import PRECISIONS
from model.errors import ConfigError
from model.losses.options import CHOICES, NAMES

README = Path(__file__).resolve().parents[2] / "README.md"
# As typed, and today's.
HINTS = {
    "logitsversion=7": "loss=norms", "logitsversion=-1": "loss=pairwise", "logitsversion=12": "loss=normsv5 "
                                                                                              "loss.normalize=false",
    "normlogits=False": "loss.normalize=false", "normlogits=1": "loss.normalize=true",
    "maskLosses=1": "loss.mask=learned",
    "masklosses=4": "loss.mask=raw", "meanloss=True": "loss.axes=first", "exactlabels=1": "loss.targets=soft",
    "learning_rate=1e-4": "optimizer.lr=1e-4", "adam_epsilon=1e-8": "optimizer.eps=1e-8",
    "weight_decay=0.1": "optimizer.weight_decay=0.1",
    "batch_size=8": "data.batch_size=8", "train_batch_size=8": "data.batch_size=8",
    "vocab_size=5000": "data.vocab_size=5000",
    "projection=inv": "model.projection=inv", "projection=None": "model.projection=none",
    "projection=other": "model.projection=identity",
    "embed_dim=512": "backbone.text_width=512", "transformer_width=256": "backbone.text_width=256",
    "context_length=77": "backbone.context_length=77",
    "transformer_heads=16": "backbone.text_heads=16", "transformer_layers=4": "backbone.text_layers=4",
    "eval_splits=[val]": "evaluate=[val]",
    "precision=16": "trainer.precision=16-mixed", "precision='bf16'": "trainer.precision=bf16-mixed",
    "precision=32": "trainer.precision=32-true",
    "precision=64": "trainer.precision=64-true", "precision=8": "optimizer=lion", "devices=2": "trainer.devices=2",
    "stable_loss_version=3": "loss=stable_distance", "gradient_clip_value=1.0": "monitor.clip=1.0",
    "enable_gradient_monitoring=False": "monitor=off",
    "improved_activation=swish": "backbone.translator_activation=silu",
}  # fmt: skip
# Values of the old flags, typed for today's keys.
VALUES = {
    "loss=7": "loss=norms", "loss.mask=1": "loss.mask=learned", "loss.axes=True": "loss.axes=first",
    "loss.targets=1": "loss.targets=soft",
    "trainer.precision=16": "trainer.precision=16-mixed", "trainer.precision=bf16": "trainer.precision=bf16-mixed",
    "trainer.precision=32": "trainer.precision=32-true", "trainer.precision=64": "trainer.precision=64-true",
    "trainer.precision=8": "optimizer=lion", "model.projection=None": "model.projection=none",
    "model.eot_select=True": "model.eot_select=gumbel",
    "model=v5335dim model.token_select=1": "model.token_select=gumbel",
}  # fmt: skip


@pytest.fixture
def answer(monkeypatch, capsys, tmp_path):
    """`answer("logitsversion=7")` returns the message of `python train.py …`, which has two lines and exit code 2."""

    def answer(*arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        assert command_line() == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 2, error
        return error.strip()

    return answer


@pytest.mark.parametrize(
    ("typed", "today"),
    [
        (["logitsversion=7"], "loss=norms"),
        pytest.param(["loss.maskLosses=1"], "loss.mask=learned", marks=pytest.mark.slow),
        pytest.param(
            ["+batch_size=8", "hydra/job_logging=none", "hydra/hydra_logging=none"],
            "data.batch_size=8",
            marks=pytest.mark.slow,
        ),
        (["--logitsversion", "7"], "loss=norms"),
        (["model=trainclip_v5335DIM"], "model=v5335dim"),
        (["trainer.precision=16", "hydra/job_logging=none", "hydra/hydra_logging=none"], "trainer.precision=16-mixed"),
    ],
)
def test_the_command_line_answers_with_todays_override(answer, typed, today):
    assert answer(*typed).endswith(f"did you mean {today}?")


@pytest.mark.parametrize("group", ["", "loss.", "trainer."])
def test_a_flag_as_a_key_has_a_hint(group):
    for typed, today in HINTS.items():
        key, _, value = typed.partition("=")
        first, second = unknown_key(group + key, value.strip("'")).splitlines()
        assert first.startswith(f"{group}{key} is not a known key; allowed: ")
        assert second == f"did you mean {today}?"


@pytest.mark.parametrize("form", ["--{key} {value}", "--{key}={value}", "-{key}={value}"])
def test_a_flag_with_dashes_has_a_hint(form):
    for typed, today in (
        HINTS | {"seed=1": "seed=1", "loss=norms": "loss=norms", "optimizer.lr=1": "optimizer.lr=1"}
    ).items():
        key, _, value = typed.replace("'", "").partition("=")
        with pytest.raises(ConfigError) as error:
            check_arguments(form.format(key=key, value=value).split())
        assert str(error.value).splitlines()[1:] == [f"did you mean {today}?"]


@pytest.mark.parametrize(("typed", "today"), VALUES.items())
def test_an_old_value_of_todays_key_has_a_hint(composed, typed, today):
    def checked() -> None:
        check_arguments(typed.split())
        composed(*typed.split())

    with pytest.raises(ConfigError) as error:
        checked()
    first, second = two_lines(error.value).splitlines()
    assert "; allowed: " in first
    assert second == f"did you mean {today}?"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("prune=True", "prune is a flag of the old scripts and means nothing now: no weights are pruned"),
        ("logvariance=True", "it never changed a figure"),
        (
            "logitsversion=19",
            "logitsversion is a flag of the old scripts (a whole number, -1 to 18); did you mean loss=<name>?",
        ),
        (
            "gumbel=True",
            "did you mean model.token_select=gumbel? (with model=v534dim: model.eot_select=<argmax or gumbel>)",
        ),
        ("total_steps=100", "did you mean trainer.max_steps=100? (with trainer.max_epochs=null)"),
        ("warmup_steps=500", "did you mean schedule.warmup=0.0025? (a share of total_steps, which was 200000)"),
    ],
)
def test_a_hint_has_the_remarks_that_it_needs(typed, words):
    assert words in flag_hint(*typed.split("="))


@pytest.mark.parametrize("key", ["lr", "typo", "loss.maks", "logger"])
def test_other_keys_have_no_such_hint(key):
    assert flag_hint(key, "1") is None


def test_the_versions_are_those_of_the_table_of_losses():
    rows = re.findall(
        r"^\| `(\w+)` \|.*\| (-?\d+)(?: \(12 with normalize=false\))? \|$",
        README.read_text(encoding="utf-8"),
        flags=re.M,
    )
    table = {int(number): name for name, number in rows}
    assert len(table) == 19
    assert table | {12: table[11]} == LOSSES


def test_every_replacement_is_a_key_and_every_translated_value_a_choice():
    known = {
        **{f"loss.{key}": values for key, values in CHOICES.items()},
        **{f"model.{key}": values for key, values in SELECTIONS.items()},
        "model.projection": PROJECTIONS,
        "trainer.precision": PRECISIONS,
        "loss": NAMES,
    }
    samples = [
        "True",
        "False",
        "0",
        "1",
        "2",
        "3",
        "4",
        "16",
        "32",
        "64",
        "bf16",
        "8",
        "inv",
        "iinv",
        "None",
        *map(str, LOSSES),
    ]
    for name, flag in ALL_FLAGS.items():
        assert bool(flag.today) != bool(flag.why_none), name
        assert not flag.today or flag.today.partition("=")[0] in (*known_keys(), *groups())
        for typed in samples:
            try:
                today = flag.translate(typed)
            except ValueError:
                continue
            for key, value in today.items():
                assert key in (*known_keys(), *groups())
                assert key not in known or value in known[key], (name, typed)
