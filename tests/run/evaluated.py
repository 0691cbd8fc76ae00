"""Evaluates untrained models of some losses on splits of one size; prints the figures as JSON. To be started alone, or by torchrun."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

import pytorch_lightning as pl

from model.build import make_data, make_module, resolved_sizes
from model.ending import evaluate_splits
from model.session import make_session
from tests.conftest import SMALL, compose_run


def main(processes: int, size: int, losses: Sequence[str]) -> None:
    """Batches of 16 over all processes."""
    shared = [*SMALL, "model.captions=2", "evaluate=[val,test]", f"data.batch_size={16 // processes}", "analysis=off", "monitor=off"]
    shared += [f"data.val_size={size}", f"data.test_size={size}"]
    shared += ["trainer.precision=64-true", *(["trainer.strategy=ddp", f"trainer.devices={processes}"] if processes > 1 else [])]
    found = {}
    for loss in losses:
        config = compose_run(*shared, f"loss={loss}")
        pl.seed_everything(1, verbose=False)
        sizes, folder = resolved_sizes(config.backbone), Path(mkdtemp())
        data = make_data(config, sizes, folder, None)
        session = make_session(config, folder, data, make_module(config, sizes, data))
        found[loss] = evaluate_splits(session)
    if session.trainer.is_global_zero:
        print("figures:", json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
