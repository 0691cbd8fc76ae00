"""The multiplier of the logits: its first value, its largest value, and the choice of both from the first batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.losses.objective.conditioning import ORIGINAL_CAP, ORIGINAL_SCALE, initial_scale
from model.losses.objective.loss import ContrastiveLoss


class LogitScaleMixin(nn.Module):
    """Adds a trained multiplier of the logits, exp(logit_scale), with an upper bound, `scale_cap`, to a module.

    It is a base class and not a submodule, because checkpoints, tools that read them and the gradient monitor use the
    names `logit_scale` and `scale_cap` without a prefix.
    """

    logit_scale: nn.Parameter
    """The natural logarithm of the multiplier, 0-dimensional."""
    scale_cap: Tensor
    """The largest multiplier, 0-dimensional."""

    def __init__(self, *, trained: bool, scale_due: bool, chosen_cap: float | None) -> None:
        """Starts with the multiplier and the cap of the original CLIP.

        trained: whether the multiplier gets a gradient; scale_due: whether the first batch chooses the multiplier and
        its cap (loss.scale_init=auto); chosen_cap: the value of loss.scale_cap, None for the cap of the loss itself.
        """
        super().__init__()
        self.scale_due, self.chosen_cap = scale_due, chosen_cap
        log_scale, cap = self._below_chosen_cap(math.log(ORIGINAL_SCALE), ORIGINAL_CAP)
        self.logit_scale = nn.Parameter(torch.tensor(log_scale), requires_grad=trained)
        self.register_buffer("scale_cap", torch.tensor(cap))
        self.register_load_state_dict_post_hook(lambda module, keys: module.limit_scale())

    def multiplier(self) -> Tensor:
        """Returns the multiplier of the logits, 0-dimensional, differentiable."""
        return self.logit_scale.exp()

    @torch.no_grad()
    def limit_scale(self) -> None:
        """Lowers the multiplier to its cap. Called after every optimizer step and after weights are loaded."""
        self.logit_scale.clamp_(max=self.scale_cap.log())

    def choose_scale(self, loss: ContrastiveLoss, views: Tensor) -> tuple[float, float]:
        """Sets the multiplier and its cap so that the logits of `views` (n, B, D) differ by about 1; returns both."""
        log_scale, cap = self._below_chosen_cap(*initial_scale(loss, views))
        self.logit_scale.data.fill_(log_scale)
        self.scale_cap.fill_(cap)
        self.scale_due = False
        return math.exp(log_scale), cap

    def _below_chosen_cap(self, log_scale: float, cap: float) -> tuple[float, float]:
        """Returns the logarithm of the first multiplier and the cap, both bounded by loss.scale_cap if it is set."""
        if self.chosen_cap is None:
            return log_scale, cap
        return min(log_scale, math.log(self.chosen_cap)), self.chosen_cap
