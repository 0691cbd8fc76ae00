"""The analysis reads the views of the evaluation, which are those that the encoder computes again from the data."""

from __future__ import annotations

import pytest
import torch

from model import ending
from model.analysis.retrieval import rank_from_other_views
from model.run import run
from tests.analysis.small import analysis_of


@pytest.fixture
def analysed(monkeypatch) -> list[tuple]:
    """Returns the encoder, the data and the known views of each analysis."""
    calls, analyse = [], ending.analyse

    def recorded(trainer, encoder, loss, data, settings, make_reference, known_views, known_ranks, side):
        calls.append((encoder, data, dict(known_views), loss, dict(known_ranks)))
        analyse(trainer, encoder, loss, data, settings, make_reference, known_views, known_ranks, side)

    monkeypatch.setattr(ending, "analyse", recorded)
    return calls


def test_the_views_are_those_of_the_encoder(small, tmp_path, analysed):
    run(small("evaluate=[test,val]"), tmp_path)
    ((encoder, data, known, loss, ranks),) = analysed
    assert list(known) == ["test", "val"]
    for split, views in known.items():
        with torch.no_grad():
            batches = [encoder(batch.images, batch.captions) for batch in data.single_process_dataloader(split)]
        torch.testing.assert_close(views, torch.cat(batches, dim=1), rtol=0, atol=0)
        for known_of_view, of_view in zip(ranks[split], rank_from_other_views(loss, views), strict=True):
            assert all(map(torch.equal, known_of_view, of_view))


def test_a_limit_of_samples_keeps_the_first_ones(small, tmp_path, analysed):
    run(small("analysis.samples=6"), tmp_path)
    assert analysed[0][2]["test"].shape[1] == 6
    assert analysis_of(tmp_path)["retrieval"]["test"]["samples"] == 6


def test_the_views_of_a_partial_evaluation_are_computed_again(small, tmp_path, analysed):
    run(small("trainer.limit_test_batches=1"), tmp_path)
    assert analysed[0][2] == {}
    assert analysis_of(tmp_path)["retrieval"]["test"]["samples"] == 8
