"""The LightningModule: batch -> views -> loss -> log. No formulas here. Shapes: n views, B rows, D features."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from model.analysis.validation import validation_figures
from model.config.schema import OptimizerConfig, PlateauConfig, ScheduleConfig
from model.data.batch import Batch
from model.distributed import gather_rows, gather_views
from model.losses.objective.conditioning import ORIGINAL_CAP, ORIGINAL_SCALE, initial_scale, reach_warning
from model.optim import Plateau, Rate, make_optimizer, make_schedule, resume_schedule
from model.steps import due
from model.views.encoder import ViewEncoder


class NWayClip(pl.LightningModule):
    """Contrasts the views of a batch jointly; both original trainers and plain CLIP, depending on the encoder's
    plan.
    """

    def __init__(
        self,
        encoder: ViewEncoder,
        loss: nn.Module,
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        *,
        scale_init: str,
        scale_cap: float | None,
        batch_size: int,
    ) -> None:
        """`scale_init`, `scale_cap`: values of these keys of conf/loss; `batch_size`: samples of one process's
        batch.
        """
        super().__init__()
        self.encoder = encoder
        self.loss = loss
        self.chosen_cap = scale_cap
        """What loss.scale_cap says: None where the cap is the loss's own."""
        start, cap = self._capped(math.log(ORIGINAL_SCALE), ORIGINAL_CAP)
        self.logit_scale = nn.Parameter(torch.tensor(start), requires_grad=loss.uses_scale)
        self.register_buffer("scale_cap", torch.tensor(cap))
        self.register_load_state_dict_post_hook(lambda module, keys: module.limit_scale())
        self._scale_due, self._reach_due = scale_init == "auto", True
        self.optimizer_config, self.schedule_config = optimizer, schedule
        self.batch_size = batch_size
        self.step_skipped = False
        self.pending: dict[str, Tensor | float] = {}
        self._window: list[Tensor] = []
        self._epoch_loss, self._epoch_batches = 0.0, 0
        self._train_figures: dict[str, float] = {}
        self._view_squares: Tensor | None = None
        self._collected: list[tuple[Tensor, Tensor]] = []
        self.validated: Tensor | None = None
        """(n, N, D) float32 on the CPU: the views of the last validation, in the order of the split."""
        self.plateau = Plateau(schedule.factor, schedule.patience) if isinstance(schedule, PlateauConfig) else None
        self.rate: Rate | None = None
        self._rate_before: dict[str, Any] | None = None

    def record(self, values: dict[str, Tensor | float]) -> None:
        """Adds figures to this step's row of metrics.csv and of the other loggers; 0-dimensional tensors are read when
        the row is written.
        """
        self.pending.update(values)

    def forward(self, batch: Batch) -> Tensor:
        """The (n, B, D) views of `batch`, not normalised."""
        return self.encoder(batch.images, batch.captions)

    def multiplier(self) -> Tensor:
        """What logits are multiplied by."""
        return self.logit_scale.exp()

    @torch.no_grad()
    def limit_scale(self) -> None:
        """Brings the scale back under its cap: after every step, and where loaded weights are above it."""
        self.logit_scale.clamp_(max=self.scale_cap.log())

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss over the samples of all processes: each is the negative of every other."""
        views = gather_views(self(batch))
        if self._scale_due or self._reach_due:
            self._condition(views.detach())
        views.register_hook(self._keep_view_gradients)
        loss = self.loss(views, self.multiplier())
        self._window.append(loss.detach())
        self.log("train/loss", loss.detach(), prog_bar=True, logger=False)
        return loss

    def _condition(self, views: Tensor) -> None:
        """On the first batch: loss.scale_init=auto chooses where the scale starts and its cap; a warning where logits
        cannot leave chance.
        """
        if self._scale_due:
            log_scale, cap = self._capped(*initial_scale(self.loss, views))
            self.logit_scale.data.fill_(log_scale)
            self.scale_cap.fill_(cap)
            self.record({"train/logit_scale_start": math.exp(log_scale), "train/logit_scale_cap": cap})
        warning = reach_warning(self.loss, views, self.multiplier().detach())
        if warning:
            self.print(f"warning: {warning}")
        self._scale_due = self._reach_due = False

    def _capped(self, log_scale: float, cap: float) -> tuple[float, float]:
        """The start of the scale (a logarithm) and its cap, under loss.scale_cap where that is given."""
        if self.chosen_cap is None:
            return log_scale, cap
        return min(log_scale, math.log(self.chosen_cap)), self.chosen_cap

    def on_train_start(self) -> None:
        """Takes up the rate of a run that goes on; says once what this loss leaves out."""
        if self._rate_before is not None:
            resume_schedule(self.optimizers(use_pl_optimizer=False), self.lr_schedulers(), self.rate, self._rate_before)
        for notice in self.loss.notices:
            self.print(notice)

    def optimizer_step(self, *arguments: Any, **keywords: Any) -> None:
        """One step, then the scale is brought back under its cap; the row of train/* metrics when it is due."""
        super().optimizer_step(*arguments, **keywords)
        self.limit_scale()
        self._view_squares = None
        window = torch.stack(self._window)
        self._window.clear()
        if not self.step_skipped:
            # A loss that is not finite would end up in the epoch's mean, and so in early stopping and the plateau
            # schedule.
            self._epoch_loss = self._epoch_loss + window.double().sum()
            self._epoch_batches += len(window)
        if due(self.global_step + 1, self.trainer.log_every_n_steps, self.trainer.estimated_stepping_batches):
            rate = self.optimizers().param_groups[0]["lr"]
            self.record(
                {"train/loss": window.mean(), "train/logit_scale": self.multiplier().detach(), "train/lr": rate}
            )

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """A skipped step leaves the learning rate where it was."""
        if not self.step_skipped:
            super().lr_scheduler_step(scheduler, metric)
        self.step_skipped = False

    def on_train_epoch_end(self) -> None:
        """The epoch's mean loss, for early stopping and the plateau schedule."""
        if not self._epoch_batches:
            return
        mean = float(self._epoch_loss) / self._epoch_batches
        self._epoch_loss, self._epoch_batches = 0.0, 0
        self.log("train/epoch_loss", mean, logger=False, sync_dist=True)
        if self.plateau:
            self.plateau.end_epoch(mean)

    def configure_optimizers(self) -> dict:
        """One optimizer, one schedule that moves with every optimizer step."""
        optimizer = make_optimizer(self, self.optimizer_config)
        self.rate = Rate(self.schedule_config, self.trainer.estimated_stepping_batches, self.plateau)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": make_schedule(optimizer, self.rate), "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What the weights alone do not say, and what lies between steps: the running epoch mean, the plateau, whether
        the scale has been chosen.
        """
        checkpoint["architecture"] = dict(self.encoder.architecture)
        checkpoint["scale_due"] = self._scale_due
        checkpoint["epoch_loss"] = {"total": float(self._epoch_loss), "batches": self._epoch_batches}
        checkpoint["train_figures"] = self.train_figures()
        checkpoint["rate"] = self.rate.state_dict()
        if self.plateau:
            checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes up what `on_save_checkpoint` laid down."""
        self._scale_due = checkpoint["scale_due"]
        self._epoch_loss, self._epoch_batches = checkpoint["epoch_loss"]["total"], checkpoint["epoch_loss"]["batches"]
        self._train_figures = checkpoint.get("train_figures", {})
        self._rate_before = checkpoint.get("rate")
        if self.plateau and "plateau" in checkpoint:
            self.plateau.load_state_dict(checkpoint["plateau"])

    def train_figures(self) -> dict[str, float]:
        """The last `train/*` figures of the run, those of the checkpoint included that it was continued from."""
        logged = {key: float(value) for key, value in self.trainer.callback_metrics.items() if key.startswith("train/")}
        return self._train_figures | logged

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Collects the views; the figures are those of the whole split."""
        self._collected.append((self(batch).float().cpu(), batch.indices.cpu()))

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """As in validation."""
        self.validation_step(batch, batch_index)

    def on_validation_epoch_end(self) -> None:
        """val/* figures, and their row in metrics.csv."""
        self.validated = self._gathered()
        figures = {f"val/{name}": value for name, value in self._figures(self.validated).items()}
        self.record(figures)
        bar = ("val/recall@1", "val/recall@10")
        self.log_dict(
            {key: value for key, value in figures.items() if key in bar}, prog_bar=True, logger=False, sync_dist=True
        )
        self.log_dict({key: value for key, value in figures.items() if key not in bar}, logger=False, sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """The figures of a split of `evaluate`, under plain names."""
        self.log_dict(self._figures(self._gathered()), logger=False, sync_dist=True)

    def _gathered(self) -> Tensor:
        """All views collected by all processes, in the order of the split, each row once."""
        views = torch.cat([views for views, _ in self._collected], dim=1)
        indices = torch.cat([indices for _, indices in self._collected])
        self._collected.clear()
        views, indices = gather_rows(views, indices)
        order = indices.argsort(stable=True)
        first = torch.ones(len(order), dtype=torch.bool)
        first[1:] = indices[order].diff() > 0
        return views[:, order[first]]

    def _figures(self, views: Tensor) -> dict[str, float]:
        """The figures of one evaluation: as many samples are contrasted as in training, those of a batch of all
        processes.
        """
        return validation_figures(
            self.loss, views.to(self.device), self.multiplier(), self.batch_size * self.trainer.world_size
        )

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """Tower -> its trained parameters, for the gradient monitor."""
        towers = self.encoder.towers
        parts = {
            "image": (towers.vision, towers.visual_projection),
            "text": (towers.text, towers.text_projection),
            "translator": (self.encoder.states, self.encoder.translator),
            "projection": (self.encoder.projection,),
        }
        groups = {
            name: [p for part in members if part is not None for p in part.parameters() if p.requires_grad]
            for name, members in parts.items()
        }
        return {name: parameters for name, parameters in groups.items() if parameters}

    def _keep_view_gradients(self, gradient: Tensor) -> None:
        """Adds the squares of the loss's gradient by view; a window of accumulated batches counts as one large
        batch.
        """
        squares = gradient.float().flatten(1).square().sum(dim=1)
        self._view_squares = squares if self._view_squares is None else self._view_squares + squares

    def view_gradients(self) -> dict[str, Tensor]:
        """View -> norm of the loss's gradient with respect to its features, over this step's batches; of the unscaled
        loss.
        """
        if self._view_squares is None:
            return {}
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        norms = self._view_squares.sqrt() / (scaler.get_scale() if scaler is not None else 1.0)
        return dict(zip(self.encoder.plan.names, norms, strict=True))
