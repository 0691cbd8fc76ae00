"""`loss.backend=inductor` on a CPU: losses and gradients are those of the definition in float64 (tests/oracles.py).

torch.compile takes tens of seconds for a loss. By default the recorded functions run without being compiled, which
checks what they compute; the marker slow has the tests of the compiled functions.
"""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from model.errors import ConfigError
from model.losses import make_loss
from model.losses.inductor import compile as inductor
from model.losses.inductor.compile import CompiledFunction
from tests import oracles
from tests.losses.names import COMPARED

# Losses and sizes that run by default.
FAMILIES = ("normsv5", "loss1")
FEW = [(1, 7), (33, 7)]
# Rows and features: one row, one feature, remainders, and more rows than the CPU path multiplies in float64.
SIZES = [(1, 7), (3, 1), (33, 7), (65, 130), (132, 7)]
# Losses with a memory that holds all directions, or some rows of one.
TILED = [("normsv5", 1), ("normsv5", 200), ("loss4", 1), ("pairwise", 200)]


def draw(n: int, rows: int, features: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random views. Those of one feature are positive and float64: rows of ±1 cancel, and float32 loses their
    gradients.
    """
    x = torch.randn(n, rows, features, generator=torch.Generator().manual_seed(100 * rows + features))
    return x.abs().double() if features == 1 else x.to(dtype)


def step(function, x: torch.Tensor) -> list[torch.Tensor]:
    """The loss at a scale of 5, and its gradients with respect to the views and to the scale, on the CPU."""
    x = x.clone().requires_grad_()
    scale = torch.tensor(5.0, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32, device=x.device)
    value = function(x, scale.requires_grad_())
    value.backward()
    return [result.double().cpu() for result in (value.detach(), x.grad, scale.grad)]


def check(loss, x: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Asserts that loss and gradients are the oracle's. Rows of one feature are 1 after normalisation: what is left of
    their gradients, where those of other rows are about 1, is rounding error and the eps of the normalisation.
    """
    noise = 1e-7 if x.shape[2] == 1 else 1e-12
    got = step(loss, x)
    want = step(lambda x, scale: oracles.line_loss(loss.name, x, scale), x.double().cpu())
    for a, b, bound in zip(got, want, (tolerance, tolerance, 10 * tolerance), strict=True):
        assert (a - b).norm() <= bound * b.norm() + noise, (loss.name, x.shape, (a - b).norm() / b.norm())


def views_of(name: str, n: int) -> int:
    return 2 if name in oracles.TWO_VIEWS else n


@pytest.fixture
def uncompiled(monkeypatch) -> None:
    """Runs recorded functions without compiling them."""
    monkeypatch.setattr(inductor, "problem", lambda device_type: None)
    monkeypatch.setattr("model.losses.evaluation.backend.compile_problem", lambda device_type: None)
    monkeypatch.setattr(CompiledFunction, "__call__", lambda self, *x: torch.no_grad()(self._record(len(x)))(*x))


@pytest.mark.parametrize("name", [n if n in FAMILIES else pytest.param(n, marks=pytest.mark.slow) for n in COMPARED])
def test_recorded_functions_compute_the_loss(uncompiled, name):
    loss = make_loss(name, backend="inductor")
    for rows, features in FEW if name in FAMILIES else SIZES:
        check(loss, draw(views_of(name, 3), rows, features))


@pytest.mark.parametrize("n", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4, 5, 6))])
def test_recorded_functions_of_random_tuples(uncompiled, n):
    x = draw(n, 40, 6, torch.float64)
    got, want = (step(make_loss("symile", backend=backend), x) for backend in ("inductor", "eager"))
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "memory_mib"), [("pairwise", 1), *(pytest.param(*x, marks=pytest.mark.slow) for x in TILED)]
)
def test_tiles_of_some_rows_and_some_directions(uncompiled, name, memory_mib):
    check(make_loss(name, backend="inductor", memory_mib=memory_mib), draw(3, 200, 5))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(uncompiled, dtype):
    check(make_loss("norms", backend="inductor"), draw(3, 9, 5, dtype), 1e-5 if dtype == torch.float64 else 8e-3)


@pytest.mark.slow
def test_rows_of_any_length_where_rows_are_not_normalised(uncompiled):
    x = 1e15 * draw(3, 9, 5)
    got = step(make_loss("norms", backend="inductor", normalize=False), x)
    want = step(lambda x, scale: oracles.line_loss("norms", x, scale, normalize=False), x.double())
    torch.testing.assert_close(got, want, rtol=1e-5, atol=0)


def test_the_first_call_may_be_in_inference_mode(uncompiled):
    """A run evaluates rows of other dtypes than those that it has trained on."""
    loss, x = make_loss("norms", backend="inductor"), draw(3, 9, 5)
    with torch.inference_mode():
        value = loss(x.clone(), torch.tensor(5.0))
    check(loss, x)
    assert step(loss, x)[0] == pytest.approx(value.item(), rel=1e-6)


def test_soft_targets_are_refused():
    with pytest.raises(ConfigError, match=r"loss\.backend=inductor is not possible: loss=norms with these options"):
        make_loss("norms", backend="inductor", targets="soft")


def test_a_machine_without_a_compiler_refuses_inductor_and_names_the_reason(monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("backend='inductor' raised:\n\nInvalidCxxCompiler: No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr("model.losses.evaluation.backend.compile_problem", inductor.problem.__wrapped__)
    with pytest.raises(ConfigError, match=r"loss\.backend=inductor is not possible: .*No working C\+\+") as error:
        make_loss("norms", backend="inductor")
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("allowed: auto, eager")


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 4, 5, 6])
@pytest.mark.parametrize("name", COMPARED)
def test_recorded_functions_of_other_numbers_of_views(uncompiled, name, n):
    if views_of(name, n) == n:
        loss = make_loss(name, backend="inductor")
        for rows, features in SIZES:
            check(loss, draw(n, rows, features))


@pytest.fixture
def never_again() -> Iterator[None]:
    """Makes torch.compile raise an error where it compiles one function twice."""
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n"), [(name, views_of(name, 2 + k % 5)) for k, name in enumerate(COMPARED)])
def test_compiled_functions_compute_the_loss(never_again, name, n):
    """Sizes that share one compilation, and one row, which has another."""
    loss = make_loss(name, backend="inductor")
    for rows, features in ((33, 7), (65, 130), (3, 7), (1, 7)):
        check(loss, draw(n, rows, features))


@pytest.fixture
def compilations(monkeypatch) -> list[object]:
    """What has been passed to torch.compile."""
    calls: list[object] = []
    plain = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **options: calls.append(module) or plain(module, **options))
    return calls


@pytest.mark.slow
def test_other_batches_copies_modes_and_threads_compile_nothing_again(never_again, compilations):
    loss, x = make_loss("norms", backend="inductor"), draw(3, 40, 7)
    want = step(loss, x)
    count = len(compilations)
    for rows in (39, 7, 3):
        step(loss, draw(3, rows, 7))
    with torch.autocast("cpu", dtype=torch.bfloat16), ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: step(loss, x), range(8)):
            torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert len(compilations) == count
    with torch.inference_mode():
        assert loss(x, torch.tensor(5.0)) == pytest.approx(want[0].item(), rel=1e-6)
        for rows in (40, 9):
            loss.row_figures(x[:, :rows].clone(), torch.tensor(5.0))
    with torch.no_grad():
        assert loss(x, torch.tensor(5.0)) == pytest.approx(want[0].item(), rel=1e-6)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(make_loss("norms")))):
        torch.testing.assert_close(step(other, x), want, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Dynamo warns of the function below that collects
def test_the_garbage_collector_may_run_frames_of_others_inside_a_call(monkeypatch):
    """torch.compile also looks at frames that run between a call and its compiled code, such as a generator that the
    garbage collector closes there.
    """

    class Unreachable:
        def __init__(self) -> None:
            self.me = self
            self.frame = self.generator()
            next(self.frame)

        def generator(self) -> Iterator[int]:
            try:
                yield 0
            finally:
                sum(k for k in range(3))

    loss, x = make_loss("loss5", backend="inductor"), draw(3, 16, 7)
    check(loss, x)
    plain = torch.nn.Module._call_impl

    def collecting(self, *arguments, **options):
        Unreachable()
        gc.collect()
        return plain(self, *arguments, **options)

    monkeypatch.setattr(torch.nn.Module, "_call_impl", collecting)
    check(loss, x)
