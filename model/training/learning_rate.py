"""The learning rate of a run, which may continue from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from model.config.schema import PlateauConfig, ScheduleConfig
from model.optim import Plateau, Rate, make_schedule, resume_schedule


class LearningRate:
    """The schedule of conf/schedule, with its state before and after a checkpoint."""

    def __init__(self, config: ScheduleConfig) -> None:
        self._config = config
        self._plateau = Plateau(config.factor, config.patience) if isinstance(config, PlateauConfig) else None
        self._rate: Rate | None = None
        self._earlier: dict[str, Any] | None = None

    def schedule(self, optimizer: Optimizer, total_steps: float) -> LambdaLR:
        """Returns torch's schedule of `optimizer`, one update per optimizer step, for a run of `total_steps` steps."""
        self._rate = Rate(self._config, total_steps, self._plateau)
        return make_schedule(optimizer, self._rate)

    def resume(self, optimizer: Any, schedule: Any) -> None:
        """Continues from the rate of the checkpoint, once torch has restored the optimizer and the schedule; does
        nothing in a run that starts. optimizer, schedule: those of `schedule`; Lightning types them as unions.
        """
        if self._earlier is not None:
            assert isinstance(optimizer, Optimizer)
            assert isinstance(schedule, LambdaLR)
            assert self._rate is not None
            resume_schedule(optimizer, schedule, self._rate, self._earlier)

    def end_epoch(self, loss: float) -> None:
        """Gives the mean loss of the epoch to a plateau schedule; other schedules do not use it."""
        if self._plateau:
            self._plateau.end_epoch(loss)

    def state_dict(self) -> dict[str, Any]:
        """Returns the entries of a checkpoint: `rate`, and for a plateau schedule `plateau`."""
        assert self._rate is not None
        return {"rate": self._rate.state_dict()} | ({"plateau": self._plateau.state_dict()} if self._plateau else {})

    def load_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned. Checkpoints of earlier versions have no `rate`."""
        self._earlier = checkpoint.get("rate")
        if self._plateau and "plateau" in checkpoint:
            self._plateau.load_state_dict(checkpoint["plateau"])
