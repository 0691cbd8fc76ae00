"""Peak memory of one run among several in a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A process of its own: memory of earlier tests could be freed at any time.
PROGRAM = """
import json
import numpy as np
from model.memory import forget_peak, peak_mib

forget_peak()
figures = [peak_mib()]
large = np.ones(400 * 2**20, dtype=np.uint8)
figures.append(peak_mib())
del large
forget_peak()
figures.append(peak_mib())
small = np.ones(100 * 2**20, dtype=np.uint8)
figures.append(peak_mib())
print(json.dumps(figures))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can reset a peak")
@pytest.mark.slow
def test_a_peak_does_not_count_after_a_reset():
    """400 MiB, then 100: the second peak is that of the second array alone."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    before, with_large, after, with_small = json.loads(done.stdout)
    assert with_large - before == pytest.approx(400, abs=20)
    assert after - before == pytest.approx(0, abs=20)
    assert with_small - after == pytest.approx(100, abs=20)
