"""The figures of an evaluation do not depend on the number of processes, as long as all of them together have the same
batch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import pytorch_lightning as pl

from model.build import build_parts
from model.ending import evaluate_splits
from model.session import make_session
from tests.conftest import SMALL, compose_run
from tests.forked import together

SIX = ("normsv5", "einsum", "stock", "siglip", "symile", "gram")


def figures_of(processes: int, size: int, losses: Sequence[str], folder: Path) -> dict[str, dict[str, float]]:
    """Loss -> figures of two splits of `size` rows, of models as they are before training; batches of 16 over all
    processes.
    """
    shared = [
        *SMALL,
        "model.captions=2",
        "evaluate=[val,test]",
        f"data.batch_size={16 // processes}",
        "monitor=off",
        "trainer.precision=64-true",
    ]
    shared += [f"data.val_size={size}", f"data.test_size={size}"]
    shared += ["trainer.strategy=ddp", f"trainer.devices={processes}"] if processes > 1 else []

    def evaluate() -> None:
        found = {}
        for loss in losses:
            config = compose_run(*shared, f"loss={loss}")
            pl.seed_everything(1, verbose=False)
            session = make_session(config, folder, build_parts(config, folder, None))
            found[loss] = evaluate_splits(session)
        if session.trainer.is_global_zero:
            (folder / "figures.json").write_text(json.dumps(found))

    folder.mkdir()
    if processes > 1:
        together(evaluate, folder, processes)
    else:
        evaluate()
    return json.loads((folder / "figures.json").read_text())


@pytest.mark.parametrize(
    ("size", "losses"),
    [(129, ("normsv5", "stock")), *(pytest.param(size, SIX, marks=pytest.mark.slow) for size in (3, 129, 997))],
)
@pytest.mark.slow
def test_one_process_and_two(tmp_path, size, losses):
    """Batches of 16, and two of 8. 3 rows are a batch of 3, in one process as in two."""
    all_of_one, all_of_two = (figures_of(processes, size, losses, tmp_path / str(processes)) for processes in (1, 2))
    for loss in losses:
        one, two = all_of_one[loss], all_of_two[loss]
        assert one.keys() == two.keys()
        assert len(one) > 30
        for name, value in one.items():
            assert two[name] == pytest.approx(value, abs=1e-6), (loss, name)
        assert one["val/loss"] > 0.5, "the figures are of some contrast"
