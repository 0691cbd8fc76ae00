"""docs/gradient-health.md names every metric that a run writes, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from model.record.metrics_csv import read_rows
from model.run import run

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "gradient-health.md").read_text(encoding="utf-8")
ON_REQUEST = {"grad_layer": "monitor.per_layer=true", "activation": "monitor.activations=true"}


def documented() -> dict[str, re.Pattern[str]]:
    """Name in the table of metrics, like grad_tower/<tower>/norm -> what its columns look like."""
    table = GUIDE.split("| metric | meaning |", 1)[1].split("\n\n", 1)[0]
    names = [name for line in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", line.split("|")[1])]
    return {name: re.compile(re.sub(r"<[^>]+>", ".+", name)) for name in names}


def columns(folder: Path) -> set[str]:
    """The monitor's, of metrics.csv."""
    return {key for row in read_rows(folder / "metrics.csv") for key in row if key.startswith(("grad", "activation"))}


@pytest.fixture(scope="module")
def names() -> dict[str, re.Pattern[str]]:
    """The table's."""
    found = documented()
    assert len(found) > 15
    return found


def test_a_run_that_asks_for_all_writes_what_is_documented(small, tmp_path, names):
    run(
        small(
            "loss=normsv5",
            "monitor=guard",
            "monitor.per_layer=true",
            "monitor.activations=true",
            "monitor.every_n_steps=1",
        ),
        tmp_path,
    )
    written = columns(tmp_path)
    assert [name for name, pattern in names.items() if not any(map(pattern.fullmatch, written))] == [], (
        "documented, not written"
    )
    assert [column for column in written if not any(pattern.fullmatch(column) for pattern in names.values())] == [], (
        "written, not documented"
    )


def test_a_run_by_default_writes_those_that_need_no_setting(small, tmp_path, names):
    run(small("loss=normsv5", "monitor.every_n_steps=1"), tmp_path)
    written = columns(tmp_path)
    plain = {name: pattern for name, pattern in names.items() if not name.startswith(tuple(ON_REQUEST))}
    assert all(any(map(pattern.fullmatch, written)) for pattern in plain.values())
    assert not [column for column in written if column.startswith(tuple(ON_REQUEST))]


def test_every_setting_that_the_guide_names_exists():
    keys = {
        f"{path.parent.name}.{key}"
        for path in (ROOT / "conf").glob("*/*.yaml")
        for key in yaml.safe_load(path.read_text()) or {}
    }
    named = set(re.findall(r"`((?:monitor|optimizer|trainer|loss|backbone|data|schedule)\.\w+)[=`]", GUIDE))
    assert len(named) > 15
    assert named <= keys, named - keys
