"""The losses that the tests run over: those that have a formula and an oracle.

test_surface.py says what is missing for the others.
"""

from model.losses import available
from tests import oracles

TUPLES = sorted(set(available()) & set(oracles.SCORES))
MATRICES = sorted(set(available()) & set(oracles.MATRICES))
COMPARED = sorted(TUPLES + MATRICES)
