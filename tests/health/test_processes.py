"""Two processes over gloo: whichever process has the fault, both take the same decision and keep the same weights."""

from __future__ import annotations

import json

import pytest
import torch

from tests.forked import together
from tests.health.two_processes import main


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder of the runs, and the results of both processes."""
    folder = tmp_path_factory.mktemp("two")
    together(lambda: main(folder), folder)
    return folder, [json.loads((folder / f"results_{rank}.json").read_text()) for rank in (0, 1)]


CASES = [
    ("nan", [0, 3], 8),
    ("inf", [0, 7], 8),
    ("lion", [2], 8),
    ("loss_alone", [4], 8),
    ("gradient_alone", [4], 8),
    ("window", [1], 2),
    ("half", [1], 8),
    ("bfloat16", [1], 8),
]


@pytest.mark.parametrize(("case", "skipped", "steps"), CASES)
def test_both_skip_the_same_steps(results, case, skipped, steps):
    for process in results[1]:
        assert process[case]["skipped"] == skipped
        assert process[case]["steps"] == steps
        assert process[case]["counts"]["skipped"] == len(skipped)
        assert process[case]["counts"]["scaler_skips"] == 0


@pytest.mark.parametrize("case", [*(case for case, _, _ in CASES), "halt", "halt_gradient", "too_many"])
def test_both_keep_the_same_weights(results, case):
    first, second = (process[case]["weights"] for process in results[1])
    assert first == second
    assert torch.isfinite(torch.tensor(first)).all()


def test_both_halt_and_name_the_batches_of_both(results):
    folder, processes = results
    assert all(process["halt"]["halted"].startswith("training halted at step 3: ") for process in processes)
    record = json.loads((folder / "halt" / "halt.json").read_text())
    assert record["step"] == 3
    # Batches of four; processes take turns sample by sample. Only the second one's loss was bad.
    assert record["indices"] == [17, 19, 21, 23]
    assert (folder / "halt" / "checkpoints" / "last_good.ckpt").is_file()


def test_after_a_bad_gradient_under_good_losses_all_batches_are_named(results):
    folder, _ = results
    record = json.loads((folder / "halt_gradient" / "halt.json").read_text())
    assert (record["step"], sorted(record["indices"])) == (3, list(range(16, 24)))


def test_both_halt_after_too_many_in_a_row(results):
    folder, processes = results
    assert all(process["too_many"]["halted"].startswith("training halted at step 6: ") for process in processes)
    assert all(process["too_many"]["counts"]["skipped"] == 2 for process in processes)
    assert processes[0]["too_many"]["counts"]["clipped"] == processes[1]["too_many"]["counts"]["clipped"]
    assert json.loads((folder / "too_many" / "halt.json").read_text())["indices"] == [41, 43, 45, 47]


def test_norm_of_a_sharded_gradient_is_global(results):
    for process in results[1]:
        before, after = process["sharded"]
        assert before == pytest.approx(50**0.5, rel=1e-6)
        assert after == pytest.approx(1.0, rel=1e-5)
