"""Imports of large packages: the garbage collector works again afterwards, and SciPy is imported when it is used."""

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


# They run in processes of their own, because this one has imported the packages.
NOT_IMPORTED = """
import sys
from model.imports import import_libraries

import_libraries()
import model.run
import torchmetrics
large = [f"scipy.{name}" for name in ("signal", "optimize", "stats")]
assert not any(name.startswith(tuple(large)) for name in sys.modules)
assert torchmetrics.MeanMetric()(2.0) == 2
from transformers.loss.loss_for_object_detection import linear_sum_assignment
assert [list(map(int, row)) for row in linear_sum_assignment([[9, 1], [2, 8]])] == [[0, 1], [1, 0]]
import scipy
from scipy.signal import hilbert
assert scipy.signal.hilbert is hilbert
assert scipy.signal.find_peaks([0, 1, 0])[0].tolist() == [1]
assert abs(scipy.optimize.brentq(lambda x: x - 1, 0, 3) - 1) < 1e-6
"""
IMPORTED_BEFORE = """
import scipy.optimize
import scipy.signal
from model.imports import import_libraries

before = scipy.signal, scipy.optimize
import_libraries()
import_libraries()
import scipy.optimize
import scipy.signal
assert (scipy.signal, scipy.optimize) == before
assert scipy.signal.find_peaks([0, 1, 0])[0].tolist() == [1]
"""
# What a library may do during its import: call the function, or read more of the module than today's versions do.
CALLED = """
import sys
from model.imports import stand_in

sys.modules["scipy.optimize"] = stand_in("scipy.optimize", "linear_sum_assignment")
from scipy.optimize import linear_sum_assignment
assert [list(map(int, row)) for row in linear_sum_assignment([[9, 1], [2, 8]])] == [[0, 1], [1, 0]]
"""
READ = """
import sys
from model.imports import stand_in

sys.modules["scipy.optimize"] = stand_in("scipy.optimize", "linear_sum_assignment")
from scipy.optimize import brentq, linear_sum_assignment
import scipy.optimize
assert scipy.optimize.brentq is brentq
assert abs(brentq(lambda x: x - 1, 0, 3) - 1) < 1e-6
assert [list(map(int, row)) for row in linear_sum_assignment([[9, 1], [2, 8]])] == [[0, 1], [1, 0]]
"""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(NOT_IMPORTED, id="not imported"),
        pytest.param(IMPORTED_BEFORE, id="imported before", marks=pytest.mark.slow),
        pytest.param(CALLED, id="called", marks=pytest.mark.slow),
        pytest.param(READ, id="read"),
    ],
)
def test_libraries_leave_the_import_of_scipy_to_those_who_use_it(program):
    subprocess.run([sys.executable, "-c", program], check=True)
