"""Kernels refuse arguments that they would misread, and their C++ compiles without a warning."""

from __future__ import annotations

import ctypes
import math
import subprocess

import pytest
import torch

from model.losses import integrands
from model.losses.compiled import native, source_text
from model.losses.compiled.feature_kernel import feature_kernel
from model.losses.compiled.feature_source import feature_source
from model.losses.compiled.line_kernel import Counts, Factors, line_kernel, line_source
from model.losses.compiled.permuted_kernel import permuted_kernel, permuted_source
from model.losses.compiled.row_kernel import row_formula, row_kernel, row_source
from model.losses.compiled.sigmoid_kernel import sigmoid_kernel, sigmoid_source
from model.losses.compiled.volume_kernel import volume_kernel, volume_source
from model.losses.cross_terms import Cells, Tile
from model.losses.registry import FORMULAS
from model.losses.score import RowStats

FLOAT64 = torch.float64
pytestmark = pytest.mark.usefixtures("compiler")


FLOAT = torch.float32
SHAPES = {
    "matched": (3, 40),
    "row": (3, 2, 40),
    "col": (3, 1, 40),
    "sums": (3,),
    "d_matched": (3, 40),
    "d_row": (3, 2, 40),
    "d_col": (3, 1, 40),
}


def line_call(**changes) -> None:
    """Calls a compiled line kernel of `norms` with 16 of 40 rows of direction 2, with some arguments changed."""
    kernel = line_kernel(FORMULAS["norms"].score(1e-8), 3, Counts(1, 2, 1), torch.float32)
    arguments = {name: torch.ones(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    arguments |= {"cells": torch.zeros(16, 30), "grads": torch.zeros(16, 30)}
    arguments |= {"turned": torch.zeros(10, 40)[:, :16], "turned_grads": torch.zeros(10, 40)[:, :16]}
    arguments |= {"rows": slice(4, 20), "directions": [2], "weights": [1.0], "terms": 1}
    arguments |= changes
    cells = Cells(*(arguments[name] for name in ("cells", "grads", "turned", "turned_grads")))
    tile = Tile(arguments["directions"], arguments["weights"], arguments["rows"], [[cells] * arguments["terms"]])
    stats = RowStats(*(arguments[name] for name in ("matched", "row", "col")))
    d_stats = RowStats(*(arguments[name] for name in ("d_matched", "d_row", "d_col")))
    kernel(tile, stats, Factors(1.0, 1.0, 32.0), True, arguments["sums"], d_stats)


@pytest.mark.parametrize(
    "changes",
    [
        {"cells": torch.zeros(16, 29)},
        {"cells": torch.zeros(())},
        {"cells": torch.zeros(30, 16).T},
        {"cells": torch.zeros(16, 60)[:, :30]},
        {"cells": torch.zeros(1, 30).expand(16, 30)},
        {"cells": torch.zeros(16, 30, dtype=torch.float64)},
        {"cells": torch.zeros(16, 30, dtype=torch.float16), "grads": torch.zeros(16, 30, dtype=torch.float16)},
        {"cells": torch.zeros(16, 30, device="meta")},
        {"grads": torch.zeros(15, 30)},
        {"turned": None},
        {"turned": torch.zeros(11, 16)},
        {"turned": torch.zeros(10, 16)},
        {"turned_grads": torch.zeros(16, 10).T},
        {"rows": slice(25, 41)},
        {"rows": slice(-1, 15)},
        {"rows": slice(4, 21)},
        {"directions": [3]},
        {"directions": [-1]},
        {"directions": [1, 2]},
        {"weights": []},
        {"terms": 0},
        {"terms": 2},
        {"matched": torch.zeros(3, 40)},
        {"row": torch.zeros(3, 3, 40, dtype=torch.float64)},
        {"col": torch.zeros(3, 1, 41, dtype=torch.float64)},
        {"sums": torch.zeros(2, dtype=torch.float64)},
        {"d_col": torch.zeros(3, 40, dtype=torch.float64)},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_line_kernel_refuses_what_it_would_misread(changes):
    line_call()
    with pytest.raises(ValueError, match="native code was given"):
        line_call(**changes)


def test_row_and_feature_kernels_refuse_what_they_would_misread():
    rows = row_kernel(FORMULAS["norms"].score(1e-8), 3, torch.float32)
    views = [torch.ones(40, 8) for _ in range(3)]
    operands = torch.empty(rows.operands, 40, 8)
    rows.forward(views, 1e-8, True, operands)
    for bad in (
        views[:2],
        [*views[:2], torch.ones(40, 7)],
        [*views[:2], torch.ones(8, 40).T],
        [view.double() for view in views],
    ):
        with pytest.raises(ValueError, match="native code was given"):
            rows.forward(bad, 1e-8, True, operands)
    with pytest.raises(ValueError, match="native code was given"):
        rows.forward(views, 1e-8, True, operands[1:])
    sums = feature_kernel(integrands.root_sum, 1, 1, torch.float32)
    v, w = torch.ones(4, 16), torch.ones(40, 16)
    strided = torch.ones(4, 32)[:, ::2]
    for rows, first in (([v], 37), ([v], -1), ([v, v], 0), ([v.double()], 0), ([strided], 0), ([v[:, :8]], 0)):
        with pytest.raises(ValueError, match="native code was given"):
            sums.cells(rows, [w], first)
    with pytest.raises(ValueError, match="native code was given"):
        sums.backward([v], [w], torch.ones(40, 4), [v], [w])


POWER = """
extern "C" void powers(const double* x, double exponent, double* out, long count) {
    for (long k = 0; k < count; ++k) out[k] = power(x[k], exponent);
}
"""


@pytest.mark.parametrize("exponent", [1 / 2, 1 / 3, 1 / 10])
def test_powers_of_all_magnitudes(exponent):
    """Against Python's own: subnormal numbers to the largest, both signs, 0, infinity and NaN."""
    compiled = native.build(source_text.source_text(["functions.hpp"], {}, "scalar.hpp") + POWER).library
    numbers = [sign * math.ldexp(1 + k / 7, e) for e in range(-1074, 1024) for k in range(7) for sign in (1, -1)]
    x = torch.tensor([*numbers, 0.0, math.inf, math.nan], dtype=FLOAT64)
    out = torch.empty_like(x)
    pointer = ctypes.c_void_p
    compiled.powers(pointer(x.data_ptr()), ctypes.c_double(exponent), pointer(out.data_ptr()), ctypes.c_long(len(x)))
    want = torch.tensor([abs(number) ** exponent for number in x.tolist()], dtype=FLOAT64)
    torch.testing.assert_close(out, want, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"cells": torch.zeros(4, 8, dtype=torch.float16)},
        {"cells": torch.zeros(8, 4).T},
        {"first": 5},
        {"first": -1},
        {"matched": torch.zeros(4)},
        {"sums": torch.zeros(2, dtype=FLOAT64)},
        {"d_matched": torch.zeros(5, dtype=FLOAT64)},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_sigmoid_kernel_refuses_what_it_would_misread(changes):
    right = {"cells": torch.zeros(4, 8), "first": 4, "matched": torch.zeros(4, dtype=FLOAT64)}
    right |= {"sums": torch.zeros(3, dtype=FLOAT64), "d_matched": torch.zeros(4, dtype=FLOAT64)}
    sigmoid_kernel(FLOAT)(**right, scale=1.0, bias=0.0)
    with pytest.raises(ValueError, match="native code was given"):
        sigmoid_kernel(FLOAT)(**(right | changes), scale=1.0, bias=0.0)


def test_kernels_of_permuted_rows_and_volumes_refuse_what_they_would_misread():
    kernel, views, orders = (
        permuted_kernel(2, FLOAT),
        [torch.ones(3, 8)] * 2,
        torch.arange(3).expand(2, 1, 3).contiguous(),
    )
    products = [torch.empty(3, 8) for _ in range(2)]
    kernel.forward(views, orders, products)
    for bad in (orders + 1, orders - 1, orders.int(), orders[:, :, :2], orders.expand(2, 2, 3)):
        with pytest.raises(ValueError, match="native code was given"):
            kernel.forward(views, bad, products)
    with pytest.raises(ValueError, match="native code was given"):
        kernel.backward(views, orders, products, products[:1])
    with pytest.raises(ValueError, match="native code was given"):
        kernel.forward([view.double() for view in views], orders, products)
    sums = torch.ones(3, 5, dtype=FLOAT64)
    volume_kernel(2).forward(sums, 1e-6)
    for bad in (sums[:2], sums.float(), sums.T.contiguous().T):
        with pytest.raises(ValueError, match="native code was given"):
            volume_kernel(2).forward(bad, 1e-6)
    with pytest.raises(ValueError, match="native code was given"):
        volume_kernel(2).backward(sums, 1e-6, sums[0], sums)


def sources() -> dict[str, str]:
    """The C++ of one or two kernels of each kind."""
    norms, normsv5 = (FORMULAS[name].score(1e-8) for name in ("norms", "normsv5"))
    return {
        "line of one product": line_source(
            lambda *symbols: norms.line(*symbols[:3], 3, symbols[3]), Counts(1, 2, 1), FLOAT
        ),
        "line of products": line_source(
            lambda *symbols: normsv5.line(*symbols[:3], 3, symbols[3]), Counts(2, 7, 1), FLOAT
        ),
        "rows": row_source(row_formula(normsv5, 3), FLOAT),
        "root and rest": feature_source(integrands.root_less_distance, 2, 2, FLOAT),
        "power": feature_source(integrands.power(3), 1, 1, torch.float64),
        "sigmoid": sigmoid_source(FLOAT),
        "permuted rows": permuted_source(2, FLOAT),
        "volumes": volume_source(2),
    }


@pytest.mark.parametrize("kind", sources())
def test_the_source_of_a_kernel_has_no_warnings(kind):
    command = [native.compiler(), *native.flags(), native.PARALLEL, "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    result = subprocess.run([*command, "-x", "c++", "-"], input=sources()[kind], text=True, capture_output=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("file", ["functions.hpp", "scalar.hpp", "transpose.hpp", "line_kernel.hpp"])
def test_a_kernel_is_compiled_again_when_one_of_its_files_changes(file, tmp_path, monkeypatch):
    before = sources()["line of one product"]
    for path in source_text.FOLDER.glob("*.hpp"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(source_text, "FOLDER", tmp_path)
    assert sources()["line of one product"] == before
    with (tmp_path / file).open("a") as text:
        text.write("// a change\n")
    assert sources()["line of one product"] != before
