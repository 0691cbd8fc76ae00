"""docs/gradient-health.md lists every metric that a run writes and no other, and its training loops work."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from model.health import TrainingHalted
from model.record.metrics_csv import read_rows
from model.run import run
from tests.health.snapshots import same

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "gradient-health.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
ON_REQUEST = {"grad_layer": "monitor.per_layer=true", "activation": "monitor.activations=true"}


def documented_metrics() -> dict[str, re.Pattern[str]]:
    """The names in the table of metrics, such as grad_tower/<tower>/norm, with a pattern for their columns."""
    table = GUIDE.split("| metric | meaning |", 1)[1].split("\n\n", 1)[0]
    names = [name for line in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", line.split("|")[1])]
    return {name: re.compile(re.sub(r"<[^>]+>", ".+", name)) for name in names}


def columns(folder: Path) -> set[str]:
    """The columns of metrics.csv that the monitor writes."""
    return {key for row in read_rows(folder / "metrics.csv") for key in row if key.startswith(("grad", "activation"))}


@pytest.fixture(scope="module")
def metrics() -> dict[str, re.Pattern[str]]:
    """The metrics of the table."""
    documented = documented_metrics()
    assert len(documented) > 15
    return documented


def test_a_run_with_all_settings_writes_what_is_documented(small, tmp_path, metrics):
    run(
        small(
            "loss=normsv5",
            "monitor=guard",
            "monitor.per_layer=true",
            "monitor.activations=true",
            "monitor.every_n_steps=1",
        ),
        tmp_path,
    )
    written = columns(tmp_path)
    unwritten = [name for name, pattern in metrics.items() if not any(map(pattern.fullmatch, written))]
    assert unwritten == []
    undocumented = [name for name in written if not any(pattern.fullmatch(name) for pattern in metrics.values())]
    assert undocumented == []


def test_a_default_run_writes_the_metrics_that_need_no_setting(small, tmp_path, metrics):
    run(small("loss=normsv5", "monitor.every_n_steps=1"), tmp_path)
    written = columns(tmp_path)
    plain = {name: pattern for name, pattern in metrics.items() if not name.startswith(tuple(ON_REQUEST))}
    assert all(any(map(pattern.fullmatch, written)) for pattern in plain.values())
    assert not [column for column in written if column.startswith(tuple(ON_REQUEST))]


def test_every_setting_that_the_guide_names_exists():
    keys = {
        f"{path.parent.name}.{key}"
        for path in (ROOT / "conf").glob("*/*.yaml")
        for key in yaml.safe_load(path.read_text()) or {}
    }
    settings = set(re.findall(r"`((?:monitor|optimizer|trainer|loss|backbone|data|schedule)\.\w+)[=`]", GUIDE))
    assert len(settings) > 15
    assert settings <= keys, settings - keys


class PlainLoop:
    """The names that the documented loops use, for a linear network; the loss of each batch has a factor."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        net = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
        self.names: dict[str, Any] = {
            "net": net,
            "optimizer": optimizer,
            "schedule": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step),
            "loss_function": lambda output, factor: factor * output.mean(),
        }
        self.states: list[dict[str, Any]] = []

    def batches(self, factors: Iterable[float]) -> Iterable[tuple[Tensor, float]]:
        """Yields inputs and factors; takes a snapshot before each step and after the last one."""
        for factor in factors:
            self.states.append(self.snapshot())
            yield torch.ones(2, 3), factor
        self.states.append(self.snapshot())

    def snapshot(self) -> dict[str, Any]:
        """Copies of the weights and the momentum, and the learning rate."""
        optimizer = self.names["optimizer"]
        momentum = [optimizer.state[p]["momentum_buffer"].clone() for p in optimizer.state]
        weights = torch.cat([p.detach().flatten() for p in self.names["net"].parameters()])
        return {"weights": weights, "momentum": momentum, "rate": optimizer.param_groups[0]["lr"]}

    def train(self, factors: Iterable[float]) -> None:
        """Runs the documented loop."""
        (loop,) = [block for block in BLOCKS if "for inputs, targets in batches" in block]
        exec(loop, self.names | {"batches": self.batches(factors)})


def test_the_documented_loop_skips_a_bad_step_and_clips_a_large_gradient():
    loop = PlainLoop()
    loop.train([1.0, math.nan, 1000.0, math.inf])
    start, first, after_nan, after_large, after_inf = loop.states
    assert not same(start, first)
    assert same(after_nan, first)
    assert same(after_inf, after_large)
    decay = 0.1 * first["weights"]
    applied = torch.cat([buffer.flatten() for buffer in after_large["momentum"]])
    before = torch.cat([buffer.flatten() for buffer in first["momentum"]])
    gradient = applied - 0.9 * before - decay
    assert float(gradient.norm()) == pytest.approx(1.0, rel=1e-5), "the gradient of norm 2000 is clipped to 1"


def test_the_documented_loop_halts_after_too_many_skips():
    loop = PlainLoop()
    with pytest.raises(TrainingHalted, match=r"training halted at step 4: .*, 2 steps were skipped before it"):
        loop.train([1.0, math.nan, math.nan, math.nan, 1.0])
    assert len(loop.states) == 4


def test_the_documented_order_in_half_precision_skips_a_bad_step():
    loop, scaler = PlainLoop(), torch.amp.GradScaler("cpu", init_scale=4.0)
    (step,) = [block for block in BLOCKS if "scaler.unscale_" in block]
    (setup,) = [block.split("for ")[0] for block in BLOCKS if "for inputs, targets in batches" in block]
    loop.names["scaler"] = scaler
    exec(setup, loop.names)
    for inputs, factor in loop.batches([1.0, math.nan, 1.0]):
        loop.names["optimizer"].zero_grad()
        exec(step, loop.names | {"loss": factor * loop.names["net"](inputs).mean()})
    start, first, after_nan, last = loop.states
    assert same(after_nan, first)
    assert not same(start, first)
    assert not same(last, first)
    assert last["rate"] == pytest.approx(0.1 * 0.9**2)


def test_the_documented_monitor_clips(caplog):
    loop = PlainLoop()
    (block,) = [block for block in BLOCKS if "GradientHealthMonitor" in block]
    loss = 1000.0 * loop.names["net"](torch.ones(2, 3)).mean()
    exec(block, loop.names | {"loss": loss, "step": 100})
    gradient = torch.cat([p.grad.flatten() for p in loop.names["net"].parameters()])
    assert float(gradient.norm()) == pytest.approx(1.0, rel=1e-5)
    assert "Exploding gradients detected (norm=2000.00)!" in caplog.text
