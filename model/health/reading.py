"""Measures the gradients of one optimizer step on the device, and reads only the numbers that the decision needs. torch
only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from model.distributed import several_processes
from model.health.clipping import clip_coefficient
from model.health.examine import GradientReport, examine
from model.health.limits import HealthSettings
from model.health.stats import parameter_norms, total_norm


@dataclass(frozen=True)
class Measurement:
    """The figures of one step on the device. All but `norms` are 0-dimensional."""

    gradients: Mapping[str, Tensor]
    """The gradients by parameter name."""
    norms: Tensor
    """(P,) norms of the gradients."""
    total: Tensor
    """The norm of all gradients as one vector."""
    clip_coefficient: Tensor
    """The factor by which clipping multiplies the gradients."""
    loss: Tensor
    """The loss of this process."""
    bad_loss: Tensor
    """Whether the loss of any process is not finite."""


@dataclass(frozen=True)
class Reading:
    """The figures of one step on the host."""

    norm: float
    """The norm of all gradients as one vector."""
    loss: float
    """The loss of this process, before any scaling for half precision."""
    loss_finite: bool
    """Whether the losses of all processes are finite."""
    gradient_finite: bool
    """Whether every element of every gradient is finite."""
    clips: bool
    """Whether clipping would change the gradient."""
    overflowed: bool = False
    """Whether the squares overflowed in torch's norm although every element is finite."""
    report: GradientReport | None = None
    """The norms by parameter; None where the step gets no row of metrics and is finite."""

    @property
    def problem(self) -> str:
        """What is not finite, in words."""
        verdicts = (("the loss", self.loss_finite), ("the gradient", self.gradient_finite))
        nonfinite = [name for name, finite in verdicts if not finite]
        return f"{' and '.join(nonfinite)} {'are' if len(nonfinite) > 1 else 'is'} not finite"

    @property
    def nonfinite_layers(self) -> list[str]:
        """The names of the parameters whose gradients hold a NaN or an Inf."""
        return [] if self.report is None else list(dict.fromkeys((*self.report.nan, *self.report.inf)))


def measure(
    gradients: Mapping[str, Tensor], loss: Tensor, clip: float | None = None, clip_above: float | None = None
) -> Measurement:
    """Measures the gradients in one fused pass. No host synchronisation.

    loss: 0-dimensional, of this process. A loss that is not finite in one process makes the step bad in all. clip,
    clip_above: as in `clip_coefficient`.
    """
    norms = parameter_norms(list(gradients.values()))
    total = total_norm(norms)
    bad_loss = in_any_process(~torch.isfinite(loss))
    return Measurement(gradients, norms, total, clip_coefficient(total, clip, clip_above), loss, bad_loss)


def in_any_process(flag: Tensor) -> Tensor:
    """Returns whether the 0-dimensional bool is true in at least one process."""
    if not several_processes():
        return flag
    count = flag.to(torch.int32)
    dist.all_reduce(count, op=dist.ReduceOp.MAX)
    return count.bool()


def read(measurement: Measurement, full: bool) -> Reading:
    """Reads the figures in one transfer to the host: four numbers, with `full` also every norm. Reads more only where
    the step is not finite.
    """
    m = measurement
    norms = m.norms if full else m.norms[:0]
    verdict = [figure.to(m.total) for figure in (m.total, m.clip_coefficient, m.loss, m.bad_loss)]
    *each, total, coefficient, loss, bad_loss = torch.cat([norms, torch.stack(verdict)]).tolist()
    if not full and not bad_loss and math.isfinite(total):
        return Reading(total, loss, loss_finite=True, gradient_finite=True, clips=coefficient < 1)
    each = each if full else m.norms.tolist()
    report = examine(list(m.gradients), list(m.gradients.values()), each, total)
    overflowed = report.finite and not math.isfinite(total)
    return Reading(report.global_norm, loss, not bad_loss, report.finite, coefficient < 1, overflowed, report)


def trusted_coefficient(measurement: Measurement, reading: Reading, settings: HealthSettings) -> Tensor:
    """Returns the factor of clipping, 0-dimensional: from torch's norm, or from the exact norm where torch's norm
    overflowed.
    """
    if not reading.overflowed:
        return measurement.clip_coefficient
    exact = torch.tensor(reading.norm, dtype=torch.float64, device=measurement.total.device)
    return clip_coefficient(exact, settings.clip, settings.clip_above)
