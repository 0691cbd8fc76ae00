"""Imports of large packages: the garbage collector works again afterwards, and scipy.signal is imported when used."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from model.imports import large_imports


@pytest.fixture(autouse=True)
def unfrozen():
    """Gives the objects of other tests back to the collector."""
    yield
    gc.enable()
    gc.unfreeze()


def test_the_collector_pauses_and_then_ignores_what_exists():
    gc.unfreeze()
    with large_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000


def test_the_collector_works_again_after_an_error():
    with pytest.raises(ImportError), large_imports():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    with large_imports():
        pass
    assert not gc.isenabled()


# Runs in a process of its own, because this one has imported the packages.
WITHOUT_SCIPY_SIGNAL = """
import sys
from model.imports import import_torchmetrics

import_torchmetrics()
assert not any(name.startswith(("scipy.signal", "scipy.stats")) for name in sys.modules)
import pytorch_lightning
import torchmetrics
assert torchmetrics.MeanMetric()(2.0) == 2
assert not any(name.startswith(("scipy.signal", "scipy.stats")) for name in sys.modules)
import scipy
from scipy.signal import hilbert
assert scipy.signal.hilbert is hilbert
assert scipy.signal.find_peaks([0, 1, 0])[0].tolist() == [1]
"""
WITH_SCIPY_SIGNAL = """
import scipy.signal
from model.imports import import_torchmetrics

before = scipy.signal
import_torchmetrics()
import_torchmetrics()
import scipy.signal
assert scipy.signal is before
assert scipy.signal.find_peaks([0, 1, 0])[0].tolist() == [1]
"""


@pytest.mark.parametrize("program", [WITHOUT_SCIPY_SIGNAL, WITH_SCIPY_SIGNAL], ids=["not imported", "imported before"])
def test_torchmetrics_leaves_the_import_of_scipy_signal_to_others(program):
    subprocess.run([sys.executable, "-c", program], check=True)
