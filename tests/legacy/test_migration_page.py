"""docs/migration.md describes what the code does: its flags, its files, its commands, its code."""

from __future__ import annotations

import logging
import re
import shlex
from pathlib import Path

import pytest
import torch

from model.config.compose import groups, known_keys
from model.config.old_flags import ALL_FLAGS, ENHANCED_FLAGS, MASKS, PRECISIONS, STABLE_LOSSES
from model.legacy.__main__ import main
from model.legacy._old_command import COCO
from model.run import run
from tests.conftest import SMALL, some

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
TRANSLATIONS = re.findall(r"```sh\n(python \w+\.py --.*)\n```\n\nis today\n\n```sh\n((?:.*\n)+?)```", PAGE)
# The number of the translation that is trained: 32 bits, and a batch of eight.
TRAINED = 3
OLD_FILES = [
    *("trainclip_v534DIM", "trainclip_v5335DIM", "trainclip_v53_baseline", "example_enhanced_training"),
    *("LossCalculation", "nargsLossCalculation", "StableLossFunctions", "GradientHealthCheck"),
    *("IntegrateGradientHealthChecks", "Projection", "LionOptimizer", "PruneCalculation"),
]


def section(title: str) -> str:
    """The text below a heading."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def overrides(command: str) -> list[str]:
    """The overrides in `python train.py …` and the comments below it."""
    return shlex.split(command, comments=True)[2:]


def test_there_are_translations_of_every_script():
    assert len(TRANSLATIONS) >= 5
    assert {old.split()[1] for old, _ in TRANSLATIONS} == {f"{name}.py" for name in OLD_FILES[:4]}


@pytest.mark.parametrize(("old", "new"), TRANSLATIONS)
def test_a_translation_is_what_the_program_prints(old, new, capsys):
    assert main(shlex.split(old)) == 0
    assert capsys.readouterr().out == new


@pytest.mark.parametrize("number", some(range(len(TRANSLATIONS)), 5))
def test_a_translation_is_accepted(number, composed, tmp_path):
    composed(*(override.replace(COCO, str(tmp_path)) for override in overrides(TRANSLATIONS[number][1])))


def test_a_translation_trains(composed, tmp_path):
    """Trains the loss and the settings of a translation, with the smallest model on drawn scenes."""
    translated = [override for override in overrides(TRANSLATIONS[TRAINED][1]) if not override.startswith("data.root=")]
    smaller = [
        "backbone=tiny",
        "data=scenes",
        *SMALL,
        "trainer.accumulate_grad_batches=1",
        "trainer.max_epochs=null",
        "trainer.max_steps=2",
    ]
    config = composed(*translated, *smaller)
    assert (config.loss.name, config.loss.mask, config.loss.reduction, config.model.projection) == (
        "norms",
        "learned",
        "sum",
        "inv",
    )
    summary = run(config, tmp_path)
    assert summary.steps["applied"] == 2
    weights = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    matrix = next(value for name, value in weights.items() if name.endswith("projection.matrix"))
    assert not torch.equal(matrix, torch.eye(len(matrix)))


def test_the_table_of_flags_is_that_of_the_code():
    rows = re.findall(
        r"^\| `(\w+)` \| (.*?) \| (.*) \|$", section("Flags").split("How values are translated")[0], flags=re.M
    )
    assert [name for name, _, _ in rows] == list(ALL_FLAGS)
    assert "The last six flags" in PAGE
    assert len(ENHANCED_FLAGS) == 6
    for name, allowed, today in rows:
        flag = ALL_FLAGS[name]
        assert allowed == flag.allowed
        words = (
            f"nothing: {flag.why_none}" if flag.why_none else flag.today + (f" ({flag.remark})" if flag.remark else "")
        )
        assert today.replace("`", "") == words


def test_the_tables_of_values_are_those_of_the_code():
    for key, values in (("loss.mask", MASKS), ("trainer.precision", PRECISIONS), ("loss", STABLE_LOSSES)):
        first, *others = values.values()
        assert f"`{key}={first}`, {', '.join(f'`{value}`' for value in others)} |" in section("Flags")


def test_every_old_file_has_a_row():
    assert re.findall(r"^\| `(\w+)\.py` \|", section("Files"), flags=re.M) == OLD_FILES
    for name in OLD_FILES:
        assert (ROOT / "model" / "legacy" / f"{name}.py").exists()


def test_every_setting_on_the_page_exists():
    """Keys, and the choices of groups, as they stand in code."""
    code = re.sub(r"python -m model\.legacy.*|python trainclip.*|python example.*", "", PAGE).replace(
        "`loss.maskLosses=1`", ""
    )
    quoted = [word for words in re.findall(r"`([^`\n]+)`", code) for word in words.split()]
    keys = {
        word.partition("=")[0]
        for word in quoted
        if re.match(r"(loss|model|data|backbone|optimizer|schedule|monitor|trainer)\.\w+=", word)
    }
    assert len(keys) > 25
    assert keys <= set(known_keys())
    chosen = [
        word.split("=", 1) for word in quoted if re.fullmatch(r"\w+=[\w]+", word) and word.partition("=")[0] in groups()
    ]
    assert len(chosen) > 15
    assert [pair for pair in chosen if pair[1] not in groups()[pair[0]]] == []


def test_the_checklist_names_the_settings_that_exist():
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", section("The checklist for stable training"), flags=re.M)[1:]
    assert len(rows) >= 20
    for words, key in (
        ("GELU instead of swish", "backbone.translator_activation=gelu"), ("learning rate 1e-4", "optimizer.lr=1e-4"),
        ("clip gradients at 1.0", "monitor.clip=1.0"), ("AdamW for half precision", "optimizer.eps=1e-8"),
        ("warm-up", "schedule.warmup=0.1"),
        ("every 100 steps", "monitor.every_n_steps=100"), ("dead neurons", "monitor.activations=true"),
        ("gradient noise", "monitor.noise_std=0.01"),
        ("bf16 instead of fp16", "trainer.precision=bf16-mixed"), ("gradient checkpointing", "does not exist"),
    ):  # fmt: skip
        assert any(words in recommended and key in today for recommended, today in rows), words


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_quick_start_runs_and_logs_what_the_page_says(caplog):
    (code,) = re.findall(r"```python\n(.*?)```", section("The quick start of the gradient summary"), flags=re.S)
    names: dict = {}
    with caplog.at_level(logging.INFO):
        exec(compile(code, "docs/migration.md", "exec"), names)
    (line,) = re.findall(r"^This code logs `(.*?)`", PAGE, flags=re.M)
    assert line in [record.message for record in caplog.records]
    assert any("Exploding gradients" in record.message for record in caplog.records)
    assert torch.cat([weight.grad for weight in names["module"].weights]).norm() == pytest.approx(1.0, rel=1e-5)


def test_the_page_is_linked_and_its_links_lead_somewhere():
    assert "(docs/migration.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
