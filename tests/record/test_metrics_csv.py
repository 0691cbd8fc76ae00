"""metrics.csv and summary.json: appending, continuing after a checkpoint, and incomplete lines after a kill."""

from __future__ import annotations

import json
import math

import pytest

from model.record.metrics_csv import MetricsFile, read_rows
from model.record.summary import Summary, record_failure


def test_columns_appear_when_their_first_value_does(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.append({"step": 1, "train/loss": 0.5})
    metrics.append({"step": 2, "val/loss": 0.25})
    metrics.append({"step": 3, "train/loss": 0.1})
    assert (tmp_path / "metrics.csv").read_text() == "step,train/loss,val/loss\n1,0.5,\n2,,0.25\n3,0.1,\n"


def test_a_continued_run_writes_the_same_file(tmp_path):
    rows = [{"step": 1, "a": 0.1}, {"step": 2, "b": 1 / 3}, {"step": 3, "a": math.inf, "c": 5.0}]
    complete, interrupted = MetricsFile(tmp_path / "complete.csv"), MetricsFile(tmp_path / "continued.csv")
    for row in rows:
        complete.append(row)
        interrupted.append(row)
    continued = MetricsFile(tmp_path / "continued.csv")
    continued.rewind(1)
    assert (tmp_path / "continued.csv").read_text() == "step,a\n1,0.1\n"
    for row in rows[1:]:
        continued.append(row)
    assert (tmp_path / "continued.csv").read_bytes() == (tmp_path / "complete.csv").read_bytes()


def test_an_incomplete_row_is_ignored(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,a\n1,0.1\n2,0.")
    assert read_rows(path) == [{"step": "1", "a": "0.1"}]


def test_floats_keep_all_digits(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    value = 0.1 + 0.2
    metrics.append({"value": value})
    assert float(read_rows(tmp_path / "metrics.csv")[0]["value"]) == value


def test_a_summary_is_strict_json(tmp_path):
    summary = Summary(
        tmp_path, "complete", {"val/loss": math.nan}, "abc", {"attempted": 2, "applied": 1}, 1.5, None, 10.0
    )
    summary.write("summary.json")
    body = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert body["metrics"] == {"val/loss": None}
    assert body["steps"] == {"attempted": 2, "applied": 1}
    assert math.isnan(summary.objective)


def test_a_failure_records_its_reason(tmp_path):
    record_failure(tmp_path / "job", "ValueError: why")
    body = json.loads((tmp_path / "job" / "summary.json").read_text())
    assert (body["status"], body["reason"]) == ("failed", "ValueError: why")


@pytest.mark.parametrize("status", ["complete", "stopped"])
def test_a_failure_after_the_end_of_a_run_does_not_change_its_figures(tmp_path, status):
    """For example Ctrl-C while the report is drawn, or a failed attempt to continue."""
    text = json.dumps({"status": status, "metrics": {"val/recall@1": 0.5}})
    (tmp_path / "summary.json").write_text(text)
    record_failure(tmp_path, "interrupted")
    assert (tmp_path / "summary.json").read_text() == text
