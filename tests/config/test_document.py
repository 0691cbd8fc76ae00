"""The generated pages of the documentation agree with conf/."""

from __future__ import annotations

import re

import pytest
from omegaconf import OmegaConf

from model.config import document as command
from model.config.compose import groups, known_keys
from model.config.document import BEGIN, END, PAGE, ROOT, loss_table, main, stale_pages, with_loss_table
from model.errors import ConfigError

TEXT = PAGE.read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w.]+)` \| (.+)$", TEXT, flags=re.M))


def test_the_pages_are_current():
    stale = [page.name for page in stale_pages()]
    assert stale == [], "run python -m model.config.document"


@pytest.mark.parametrize(("arguments", "code"), [(["--check"], 1), ([], 0)])
def test_a_stale_page_is_named_or_written(tmp_path, monkeypatch, capsys, arguments, code):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(command, "PAGES", {page: with_loss_table})
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["document", *arguments])
    assert main() == code
    if arguments:
        assert "old" in page.read_text()
        assert capsys.readouterr().err == "page.md is stale; run python -m model.config.document\n"
    else:
        assert page.read_text() == f"before\n{BEGIN}\n\n{loss_table()}\n{END}\nafter\n"
        monkeypatch.setattr("sys.argv", ["document", "--check"])
        assert main() == 0


def test_a_page_without_markers_is_refused():
    with pytest.raises(ConfigError, match="a page has no table of losses"):
        with_loss_table("no markers")


@pytest.mark.parametrize("page", ["README.md", "docs/losses.md"])
def test_the_table_of_losses_has_every_loss_with_its_family(page):
    rows = re.findall(
        r"^\| `(\w+)` \| .+ \| (\w+) \| .+ \| .* \|$", (ROOT / page).read_text(encoding="utf-8"), flags=re.M
    )
    assert sorted(name for name, _ in rows) == groups()["loss"]
    assert {"normsv5": "gram_pairs", "einsum": "product", "stock": "matrix", "own": "own"}.items() <= dict(rows).items()


def test_every_key_and_every_choice_stands_there():
    assert [key for key in known_keys() if not key.endswith(".name") and key not in ROWS] == []
    for group, choices in groups().items():
        table = TEXT.split(f"| `{group}=` |")[1].split("\n\n")[0]
        assert sorted(re.findall(r"^\| `(\w+)`", table, flags=re.M)) == choices


def test_every_key_has_a_meaning():
    meanings = {key: row.split(" | ", 1)[1] for key, row in ROWS.items() if key in known_keys()}
    assert [key for key, meaning in meanings.items() if len(meaning.strip(" |")) < 4] == []


def test_defaults_are_those_of_a_run_without_overrides(composed):
    """Compares each default with the composed configuration."""
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
        ("gpu", "`accelerator=gpu`, `precision=bf16-mixed`"),  # not the defaults of the choice on which gpu builds
        ("emoji", "`train_size=null`"),
        ("data.year", "with `data=coco`"),
        ("loss.evaluation", r"n\*B\*B"),
        ("report", "`python -m model.report <folder>`"),
    ],
)
def test_what_differs_is_told(row, says):
    assert any(says in line for line in TEXT.splitlines() if line.startswith(f"| `{row}`"))
