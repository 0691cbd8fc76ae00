"""An evaluation says the same whatever number of processes measured it, as each batch of all of them is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIX = ("normsv5", "einsum", "stock", "siglip", "symile", "gram")


def figures_of(processes: int, size: int, losses: Sequence[str]) -> dict[str, dict[str, float]]:
    """Loss -> figures."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "tests.run.evaluated", str(processes), str(size), *losses]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if "figures:" in line).partition("figures:")[2])


@pytest.mark.parametrize(
    ("size", "losses"),
    [(3, SIX), (129, SIX), (997, SIX)],
)
@pytest.mark.slow
def test_one_process_and_two(size, losses):
    """Batches of 16, and two of 8; the figures of two splits. 3 rows are a batch of 3, in one process as in two."""
    all_of_one, all_of_two = (figures_of(processes, size, losses) for processes in (1, 2))
    for loss in losses:
        one, two = all_of_one[loss], all_of_two[loss]
        assert one.keys() == two.keys()
        assert len(one) > 30
        for name, value in one.items():
            assert two[name] == pytest.approx(value, abs=1e-6), (loss, name)
        assert one["val/loss"] > 1, "the figures are of some contrast"
