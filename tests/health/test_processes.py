"""Two processes over gloo: whichever of them meets the fault, both take the same decision and keep the same weights."""

from __future__ import annotations

import json

import pytest
import torch

from tests.forked import together
from tests.health.two_processes import main


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What both processes saw, and their folder."""
    folder = tmp_path_factory.mktemp("two")
    together(lambda: main(folder), folder)
    return folder, [json.loads((folder / f"seen_{rank}.json").read_text()) for rank in (0, 1)]


CASES = [
    ("nan", [0, 3], 8),
    ("inf", [0, 7], 8),
    ("lion", [2], 8),
    ("loss_alone", [4], 8),
    ("gradient_alone", [4], 8),
    ("slice", [1], 2),
    ("half", [1], 8),
    ("bfloat16", [1], 8),
]


@pytest.mark.parametrize(("case", "skipped", "steps"), CASES)
def test_both_skip_the_same_steps(seen, case, skipped, steps):
    for process in seen[1]:
        assert process[case]["kept"] == skipped
        assert process[case]["steps"] == steps
        assert process[case]["counts"]["skipped"] == len(skipped)
        assert process[case]["counts"]["scaler_skips"] == 0


@pytest.mark.parametrize("case", [*(case for case, _, _ in CASES), "halt", "halt_gradient", "row"])
def test_both_keep_the_same_weights(seen, case):
    first, second = (process[case]["weights"] for process in seen[1])
    assert first == second
    assert torch.isfinite(torch.tensor(first)).all()


def test_both_halt_and_name_the_batches_of_both(seen):
    folder, processes = seen
    assert all(process["halt"]["halted"].startswith("training halted at step 3: ") for process in processes)
    told = json.loads((folder / "halt" / "halt.json").read_text())
    assert told["step"] == 3
    # Batches of four; processes take turns sample by sample. Only the second one's loss was bad.
    assert told["indices"] == [17, 19, 21, 23]
    assert (folder / "halt" / "checkpoints" / "last_good.ckpt").is_file()


def test_a_bad_gradient_under_good_losses_is_laid_to_all_batches(seen):
    folder, _ = seen
    told = json.loads((folder / "halt_gradient" / "halt.json").read_text())
    assert (told["step"], sorted(told["indices"])) == (3, list(range(16, 24)))


def test_both_halt_after_too_many_in_a_row(seen):
    folder, processes = seen
    assert all(process["row"]["halted"].startswith("training halted at step 6: ") for process in processes)
    assert all(process["row"]["counts"]["skipped"] == 2 for process in processes)
    assert processes[0]["row"]["counts"]["clipped"] == processes[1]["row"]["counts"]["clipped"]
    assert json.loads((folder / "row" / "halt.json").read_text())["indices"] == [41, 43, 45, 47]


def test_norm_of_a_sharded_gradient_is_global(seen):
    for process in seen[1]:
        before, after = process["sharded"]
        assert before == pytest.approx(50**0.5, rel=1e-6)
        assert after == pytest.approx(1.0, rel=1e-5)
