"""A compiled function computes for every size and place of its arguments, also where torch.compile compiles again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from model.losses.inductor.compile import CompiledFunction, recorded

# More elements need another compilation here. On a GPU, more than 2³¹ do, because their indices need 64 bits.
MOST_ELEMENTS = 1000
FEATURES = 16


def require_few_elements(graph: fx.Graph) -> None:
    """Restricts a compilation whose example has few elements to few elements, as indices of 32 bits would."""
    arguments = [node.meta["val"] for node in graph.nodes if node.op == "placeholder"]
    row, _, candidates, _ = (x for x in arguments if isinstance(x, Tensor))
    elements = row.shape[0] * candidates.shape[0]
    if isinstance(elements, torch.SymInt) and elements.node.hint <= MOST_ELEMENTS:
        assert elements <= MOST_ELEMENTS


def distances(x: Tensor, y: Tensor, candidates: Tensor, match: Tensor) -> Sequence[Tensor]:
    """Returns what depends on every row and every candidate, and on the match of each row."""
    return [((x + y).unsqueeze(1) - candidates - match.unsqueeze(1)).square().sum(2)]


def rows_and_candidates(size: int, rows: slice) -> list[Tensor]:
    """Returns arguments that are parts of one tensor, as the operands of a score are."""
    x, y, candidates = (part.data for part in torch.randn(3, size, FEATURES).unbind())
    return [x[rows], y[rows], candidates, candidates[rows]]


def test_a_second_compilation_leaves_the_first_one_to_its_sizes():
    function = CompiledFunction(lambda count: recorded(distances, count), [0, 0, 0, 0])
    with torch._inductor.config.patch(post_grad_custom_post_pass=require_few_elements):
        for size, rows in [(20, slice(0, 20)), (100, slice(0, 50)), (100, slice(50, 100)), (20, slice(0, 20))]:
            arguments = rows_and_candidates(size, rows)
            torch.testing.assert_close(function(*arguments)[0], distances(*arguments)[0])
