"""An analysis that fails, in whole or in part, and one of very few samples."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model import ending
from model.analysis.parts import PARTS
from model.run import run
from tests.analysis.small import analysis_of, numbers


def test_a_part_that_fails_is_noted_and_the_others_are_written(small, tmp_path, monkeypatch):
    def fail(analysed_run):
        raise MemoryError("too many captions")

    monkeypatch.setitem(PARTS, "retrieval", fail)
    with pytest.warns(RuntimeWarning, match=r"analysis\.retrieval failed .* MemoryError: too many captions"):
        summary = run(small(), tmp_path)
    analysis = analysis_of(tmp_path)
    assert analysis["notes"] == {"retrieval": "MemoryError: too many captions"}
    assert "geometry" in analysis
    assert summary.status == json.loads((tmp_path / "summary.json").read_text())["status"] == "complete"


def test_a_run_is_complete_without_its_analysis(small, tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(ending, "analyse", fail)
    with pytest.warns(RuntimeWarning, match="the run has no analysis: KeyboardInterrupt"):
        run(small(), tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "complete"


def test_two_samples_and_few_classes_are_no_failure(small, tmp_path):
    """There are fewer samples than neighbours and classes, and too few for CKA: figures are finite or absent."""
    run(small("data.val_size=2", "data.test_size=2"), tmp_path)
    analysis = analysis_of(tmp_path)
    assert "notes" not in analysis
    assert "cka" not in analysis
    assert np.isfinite(numbers(analysis)).all()
    assert analysis["retrieval"]["test"]["pairs"][0]["recall"]["5"]["value"] == 1
