"""A run that continues with another number of processes, and how processes are counted."""

from __future__ import annotations

import pytest
import torch

from model.build import processes
from model.config.changes import check_changes
from model.errors import ConfigError
from model.record.metrics_csv import read_rows
from model.run import run
from tests.forked import together
from tests.run.test_changed_settings import past


@pytest.mark.slow
def test_a_run_of_two_processes_continues_in_one_with_the_same_batches(small, tmp_path):
    """2 x 4 rows for an epoch, then 1 x 8: equal to 1 x 8 rows throughout, up to rounding."""
    shared = ("schedule=constant", "trainer.precision=64-true", "analysis=off")
    two = (*shared, "trainer.strategy=ddp", "trainer.devices=2", "data.batch_size=4", "trainer.max_epochs=1")
    (tmp_path / "two").mkdir()
    together(lambda: run(small(*two), tmp_path / "two"), tmp_path)
    run(small(*shared, "ckpt_path=last"), tmp_path / "two")
    run(small(*shared), tmp_path / "one")
    one, other = (read_rows(tmp_path / name / "metrics.csv") for name in ("one", "two"))
    assert [row["step"] for row in other] == [row["step"] for row in one]
    for key in ("train/loss", "val/loss", "val/recall@10"):
        assert [float(row[key]) for row in other if key in row] == pytest.approx(
            [float(row[key]) for row in one if key in row], rel=1e-6
        ), key


def test_devices_that_lightning_chooses_are_counted_as_it_does(small, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    counts = {
        accelerator: processes(small(f"trainer.accelerator={accelerator}", "trainer.devices=auto").trainer)
        for accelerator in ("cpu", "gpu")
    }
    assert counts == {"cpu": 1, "gpu": 4}
    assert processes(small("trainer.accelerator=gpu", "trainer.devices=-1").trainer) == 4


def test_processes_may_change_where_all_together_keep_their_batch(small):
    four = small("data.batch_size=4", "trainer.devices=2", "trainer.strategy=ddp")
    changed = [change.key for change in check_changes(four, past(small()), 2)]
    assert changed == ["data.batch_size", "trainer.strategy", "trainer.devices"]
    with pytest.raises(ConfigError, match=r"\ntrainer\.devices=2 \(in the checkpoint: 1\)$"):
        check_changes(small("trainer.devices=2"), past(small()), 2)
    automatic = small("trainer.devices=auto")
    with pytest.raises(
        ConfigError,
        match=r"\ndata\.batch_size=8 in each of 1 processes \(in the checkpoint: 8 in each of 4 processes\)$",
    ):
        check_changes(automatic, past(automatic, processes=4), 1)
