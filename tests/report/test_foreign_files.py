"""Files that another program wrote or that a kill truncated: only that file is ignored, and nothing in it is
executed.
"""

from __future__ import annotations

import pytest

from model.report.page import write_report
from model.report.sweep_text import csv_cell
from tests.report.html_page import Page
from tests.report.run_folder import write_run
from tests.report.sweep_folder import done, rows_of, settings, write_job


@pytest.mark.parametrize(
    "content", [b"", b"- 1\n", b"{'broken: [", b"loss: {name: stock}\n", b"\xff\xfe", b"!!python/object:os.system {}\n"]
)
def test_an_unreadable_configuration_removes_only_its_own_job(tmp_path, caplog, content):
    """A warning names the job. A kill while Hydra writes the file leaves the file empty."""
    for seed in (1, 2):
        write_job(tmp_path, f"stock_seed{seed}", settings(seed=seed), done(0.5))
    write_job(tmp_path, "broken", settings(seed=3), done(0.9))
    (tmp_path / "broken" / ".hydra" / "config.yaml").write_bytes(content)
    (row,) = rows_of(tmp_path)
    assert row["seeds"] == "1 2"
    assert f"{tmp_path / 'broken'} is left out of the comparison: " in caplog.text


@pytest.mark.parametrize(
    "content",
    ["[]", "null", "3", '{"status": "complete", "metrics": null}', '{"status": "complete", "metrics": [1]}', "{", ""],
)
def test_a_job_with_an_invalid_summary_counts_as_not_ended(tmp_path, content):
    write_job(tmp_path, "complete", settings(seed=1), done(0.5))
    write_job(tmp_path, "odd", settings(seed=2), content)
    (row,) = rows_of(tmp_path)
    assert (row["seeds"], row["failed"], row["failures"]) == ("1", "1", "seed 2: did not end")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *(
            (value, f"'{value}")
            for value in ("=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "-1 +cmd|A0", "\n=1", "-", "+")
        ),
        *((value, value) for value in ("stock", "-0.5", "-1e-05 0.25", "+3", "-inf", "a=b", 0.5, -0.5)),
    ],
)
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(value, written):
    assert csv_cell(value) == written


def test_the_page_does_not_show_the_readers_environment(tmp_path, monkeypatch):
    """References to other keys are resolved; other resolvers are not run."""
    monkeypatch.setenv("A_SECRET", "hunter2")
    monkeypatch.setattr("model.report.pictures.as_png", lambda figure: b"painted")  # painting takes most of the time
    folder = write_run(tmp_path / "run")
    text = (
        "loss: {name: '${oc.env:A_SECRET}'}\nseed: ${optimizer.seed}\noptimizer: {seed: '${other}', name: "
        "'${optimizer.name}'}\nother: 7\n"
    )
    (folder / ".hydra" / "config.yaml").write_text(text)
    page = write_report(folder)[0].read_text(encoding="utf-8")
    assert "hunter2" not in page
    assert "${oc.env:A_SECRET}" in page
    assert dict(zip(Page(page).texts("dt"), Page(page).texts("dd", class_=None), strict=False))["seed"] == "7"
