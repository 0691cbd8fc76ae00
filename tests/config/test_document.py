"""docs/configuration.md says what conf/ says."""

from __future__ import annotations

import re

import pytest
from omegaconf import OmegaConf

from model.config.compose import groups, known_keys
from model.config.document import PAGE, document

TEXT = PAGE.read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w.]+)` \| (.+)$", TEXT, flags=re.M))


def test_the_page_is_current():
    assert document() == TEXT, "run python -m model.config.document"


def test_every_key_and_every_choice_stands_there():
    assert [key for key in known_keys() if not key.endswith(".name") and key not in ROWS] == []
    for group, choices in groups().items():
        table = TEXT.split(f"| `{group}=` |")[1].split("\n\n")[0]
        assert sorted(re.findall(r"^\| `(\w+)`", table, flags=re.M)) == choices


def test_every_key_has_a_meaning():
    meanings = {key: row.split(" | ", 1)[1] for key, row in ROWS.items() if key in known_keys()}
    assert [key for key, meaning in meanings.items() if len(meaning.strip(" |")) < 4] == []


def test_defaults_are_those_of_a_run_without_overrides(composed):
    """Each against the composed configuration."""
    config = OmegaConf.structured(composed())
    for key in known_keys():
        if key in ROWS and OmegaConf.select(config, key, throw_on_missing=False) is not None:
            shown = ROWS[key].split("`")[1]
            if not shown.startswith("${"):
                assert OmegaConf.create(f"value: {shown}").value == OmegaConf.select(config, key), key


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("plateau", "`warmup=0.0`"),  # the default choice has another value than the shared keys
        ("gpu", "`accelerator=gpu`, `precision=bf16-mixed`"),  # its own, not those of the choice that it builds on
        ("emoji", "`train_size=null`"),
        ("data.year", "with `data=coco`"),
        ("loss.evaluation", r"n\*B\*B"),
        ("report", "`python -m model.report <folder>`"),
    ],
)
def test_what_differs_is_told(row, says):
    assert any(says in line for line in TEXT.splitlines() if line.startswith(f"| `{row}`"))
