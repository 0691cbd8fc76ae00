"""One optimizer step's gradients, read from the device as rarely as its decision allows. torch only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from model.health.clipping import coefficient
from model.health.examine import GradientReport, examine
from model.health.stats import parameter_norms, total_norm


@dataclass(frozen=True)
class Measurement:
    """Still on the device: (P,) norms, their total, what clipping multiplies by, this process's loss, and whether a
    loss was bad in any process (all 0-dimensional).
    """

    gradients: Mapping[str, Tensor]
    norms: Tensor
    total: Tensor
    scale: Tensor
    loss: Tensor
    bad_loss: Tensor


@dataclass(frozen=True)
class Reading:
    """What the host knows of a step."""

    norm: float
    """Of all gradients as one vector."""
    loss: float
    """As it went into the backward pass."""
    loss_finite: bool
    gradient_finite: bool
    clips: bool
    """Whether clipping would change the gradient."""
    overflowed: bool = False
    """Whether squares overflowed in torch's norm although every element is finite."""
    report: GradientReport | None = None
    """By parameter; None where neither a row of metrics nor a doubt asked for it."""

    @property
    def finite(self) -> bool:
        """Whether the step can be taken."""
        return self.loss_finite and self.gradient_finite


def measure(
    gradients: Mapping[str, Tensor], loss: Tensor, clip: float | None = None, above: float | None = None
) -> Measurement:
    """One fused pass; no host synchronisation. Of several processes, one bad loss counts for all. clip, above: as
    `coefficient` has them.
    """
    norms = parameter_norms(list(gradients.values()))
    total = total_norm(norms)
    return Measurement(
        gradients, norms, total, coefficient(total, clip, above), loss, in_any_process(~torch.isfinite(loss))
    )


def in_any_process(flag: Tensor) -> Tensor:
    """Whether the 0-dimensional bool is true in at least one process."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return flag
    count = flag.to(torch.int32)
    dist.all_reduce(count, op=dist.ReduceOp.MAX)
    return count.bool()


def read(measured: Measurement, full: bool) -> Reading:
    """One transfer to the host: of four numbers, or with `full` of every norm; more only of a bad step."""
    norms = measured.norms if full else measured.norms[:0]
    verdict = [
        figure.to(measured.total) for figure in (measured.total, measured.scale, measured.loss, measured.bad_loss)
    ]
    *each, total, scale, loss, bad_loss = torch.cat([norms, torch.stack(verdict)]).tolist()
    if not full and not bad_loss and math.isfinite(total):
        return Reading(total, loss, loss_finite=True, gradient_finite=True, clips=scale < 1)
    each = each if full else measured.norms.tolist()
    report = examine(list(measured.gradients), list(measured.gradients.values()), each, total)
    overflowed = report.finite and not math.isfinite(total)
    return Reading(report.global_norm, loss, not bad_loss, report.finite, scale < 1, overflowed, report)
