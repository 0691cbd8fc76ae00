"""Kernels refuse arguments that they would misread, and their C++ compiles without a warning."""

from __future__ import annotations

import subprocess

import pytest
import torch

from model.losses import integrands
from model.losses.compiled import native, source_text
from model.losses.compiled.feature_kernel import feature_kernel
from model.losses.compiled.feature_source import feature_source
from model.losses.compiled.line_kernel import Counts, Factors, line_kernel, line_source
from model.losses.compiled.row_kernel import row_formula, row_kernel, row_source
from model.losses.cross_terms import Cells, Tile
from model.losses.registry import FORMULAS
from model.losses.score import RowStats

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
