"""A run ends with its report, also where the run fails, and where the report fails."""

from __future__ import annotations

import json

import pytest

from model.run import run


def test_a_run_ends_with_its_page(small, tmp_path):
    run(small("report=true", "monitor.every_n_steps=2"), tmp_path)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("<section") >= 3
    assert {"loss.png", "recall.png", "gradient_norm.png"} <= {file.name for file in (tmp_path / "report").iterdir()}


@pytest.mark.parametrize("overrides", [("report=false",), ("report=true", "trainer.fast_dev_run=true")])
def test_a_run_without_a_report(small, tmp_path, overrides):
    run(small(*overrides), tmp_path)
    assert not (tmp_path / "report").exists()


def test_a_page_that_cannot_be_drawn_is_a_warning(small, tmp_path, monkeypatch):
    def breaks(*_):
        raise OSError("no space left")

    monkeypatch.setattr("model.report.page.write_report", breaks)
    with pytest.warns(
        RuntimeWarning,
        match=r"the report was not drawn \(OSError: no space left\); to try again: python -m model.report",
    ):
        run(small("report=true"), tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "complete"


@pytest.mark.slow
def test_a_failed_run_has_a_page_that_says_why(small, tmp_path, monkeypatch):
    from model.module import NWayClip

    def fails(self):
        raise RuntimeError("the disk is <full>")

    monkeypatch.setattr(NWayClip, "on_validation_epoch_end", fails)
    with pytest.raises(RuntimeError):
        run(small("report=true"), tmp_path)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "RuntimeError: the disk is &lt;full&gt;" in page.split("<img")[0]
    assert 'alt="Loss.' in page
