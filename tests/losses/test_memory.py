"""Memory of the losses: a step stays within `loss.memory_mib`, and so do the buffers that are reused between steps."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from model.losses import make_loss
from model.losses.evaluation.scratch import Scratch
from model.losses.objective.targets import SoftTargets

MIB = 1 << 20


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations in the block create, and that are alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.peak = 0, 0
        self._seen: dict[int, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        self.peak = max(self.peak, self.alive)
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._seen:
            self._seen[key] = storage.nbytes()
            self.alive += storage.nbytes()
            weakref.finalize(storage, self._freed, key)

    def _freed(self, key: int) -> None:
        self.alive -= self._seen.pop(key)


@pytest.mark.parametrize("name", ["einsum", "loss2", "loss6", "normsv5", "stable_norm", "gram"])
def test_dense_scores_take_about_their_budget(name):
    views = torch.randn(3, 64, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with PeakBytes() as measured:
        scores = make_loss(name, memory_mib=1).score(views)
    assert measured.peak - scores.nbytes < 1.25 * MIB


def test_scratch_holds_at_most_its_limit():
    scratch = Scratch(limit=2048)
    tensors = [torch.empty(128, dtype=torch.float64) for _ in range(3)]
    held = [weakref.ref(tensor) for tensor in tensors]
    scratch.release(tensors)
    del tensors
    assert [tensor() is not None for tensor in held] == [False, True, True]


def test_soft_targets_of_a_larger_batch_are_those_of_that_size():
    """They do not depend on the smaller batch that came first."""

    def score(views: torch.Tensor) -> torch.Tensor:
        return torch.einsum("az,bz->ab", *views.double())

    small, large = (torch.zeros(2, rows, 4) for rows in (3, 5))
    targets = SoftTargets(seed=3, batch_size=None)
    assert targets(score, small).shape == (3, 3)
    drawn = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(targets(score, large), score(torch.stack([drawn, drawn])).softmax(1))
