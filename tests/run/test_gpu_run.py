"""A run on a GPU: no part of its analysis is left out, and an evaluation on a CPU gives its figures."""

from __future__ import annotations

import pytest
import torch

from model.analysis.retrieval import rank_from_other_views
from model.losses import make_loss
from model.run import run
from tests.analysis.small import analysis_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")


@pytest.mark.parametrize(
    ("loss", "precision"),
    [("normsv5", "32-true"), ("stock", "bf16-mixed"), ("stock", "16-mixed"), ("loss4", "64-true")],
)
def test_a_run_and_its_evaluation_on_a_cpu(small, tmp_path, loss, precision):
    settings = (f"loss={loss}", "analysis=standard", "monitor.clip=1.0")
    trained = run(small(*settings, f"trainer.precision={precision}", "trainer.accelerator=gpu"), tmp_path)
    analysis = analysis_of(tmp_path)
    assert trained.status == "complete"
    assert "notes" not in analysis
    assert {"retrieval", "geometry", "cka"} <= analysis.keys()
    again = run(small(*settings, "train=false", "ckpt_path=best", "trainer.accelerator=cpu"), tmp_path)
    tolerance = 1e-4 if precision in ("32-true", "64-true") else 0.05
    assert again.metrics["test/loss"] == pytest.approx(trained.metrics["test/loss"], rel=tolerance)


def test_the_ranks_of_views_on_a_gpu_are_on_the_cpu():
    views = torch.nn.functional.normalize(torch.randn(3, 20, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    loss = make_loss("einsum", backend="eager")
    on_cpu = rank_from_other_views(loss, views)
    on_gpu = rank_from_other_views(loss.cuda(), views.cuda())
    for expected, counts in zip(on_cpu, on_gpu, strict=True):
        assert all(map(torch.equal, expected, counts))
