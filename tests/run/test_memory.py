"""Peak memory of one run among several in a process."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from model.memory import forget_peak, peak_mib

MIB = 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can forget a peak")
def test_a_peak_is_forgotten_with_what_made_it():
    """400 MiB held, then 100: the second figure is of the second only."""
    forget_peak()
    before = peak_mib()
    large = np.ones(400 * MIB, dtype=np.uint8)
    with_large = peak_mib()
    del large
    forget_peak()
    after = peak_mib()
    small = np.ones(100 * MIB, dtype=np.uint8)
    with_small = peak_mib()
    assert with_large - before == pytest.approx(400, abs=20)
    assert after - before == pytest.approx(0, abs=20)
    assert with_small - after == pytest.approx(100, abs=20)
    assert small.nbytes == 100 * MIB
