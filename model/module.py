"""The LightningModule: batch -> views -> loss -> log. No formulas here. Shapes: n views, B rows, D features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from model.analysis.retrieval import MatchCounts, rank_from_other_views
from model.analysis.validation import validation_figures
from model.config.schema import OptimizerConfig, ScheduleConfig
from model.data.batch import Batch
from model.distributed import gather_views
from model.losses.objective.conditioning import reach_warning
from model.losses.objective.loss import ContrastiveLoss
from model.optim import make_optimizer
from model.steps import due
from model.training.epoch_mean import EpochMean
from model.training.evaluated_views import EvaluatedViews
from model.training.learning_rate import LearningRate
from model.training.logit_scale import LogitScaleMixin
from model.training.tower_parameters import rate_columns, scaled_parameters, tower_parameters
from model.training.view_gradients import ViewGradients
from model.views.encoder import ViewEncoder

# The metrics of a validation that the progress bar shows.
IN_BAR = ("val/recall@1", "val/recall@10")


class NWayClip(LogitScaleMixin, pl.LightningModule):
    """Contrasts the n views of each sample; the encoder determines the views.

    Callbacks call `record`, `take_recorded`, `gradient_groups` and `view_gradients`, read `validation_views`, and set
    `step_skipped`. Each callback defines a Protocol of the attributes that it uses.
    """

    def __init__(
        self,
        encoder: ViewEncoder,
        loss: ContrastiveLoss,
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        *,
        scale_due: bool,
        chosen_cap: float | None,
        batch_size: int,
        log_every_n_steps: int,
    ) -> None:
        """scale_due, chosen_cap: see `LogitScaleMixin`; batch_size: samples in a batch of one process;
        log_every_n_steps: optimizer steps between two rows of train/* metrics.
        """
        super().__init__(trained=loss.uses_scale, scale_due=scale_due, chosen_cap=chosen_cap)
        self.encoder: ViewEncoder = encoder
        self.loss: ContrastiveLoss = loss
        self.optimizer_config, self.learning_rate = optimizer, LearningRate(schedule)
        self.batch_size, self.log_every_n_steps = batch_size, log_every_n_steps
        self.step_skipped = False
        """Set by the gradient monitor; the schedule does not move after a skipped step."""
        self.validation_views: Tensor | None = None
        """(n, N, D) float32 on the CPU: the views of the last validation, in the order of the split."""
        self.test_views: Tensor | None = None
        """The same of the last split that was evaluated after training."""
        self.test_ranks: list[MatchCounts] = []
        """The ranks of these views, from the other views of each sample, on the CPU."""
        self._first_batch = True
        self._epoch_mean, self._view_gradients, self._evaluated = EpochMean(), ViewGradients(), EvaluatedViews()
        self._recorded: dict[str, Tensor | float] = {}
        self._earlier_figures: dict[str, float] = {}

    def record(self, values: Mapping[str, Tensor | float]) -> None:
        """Adds figures to the row of this step in metrics.csv; tensors, 0-dimensional, are read when it is written."""
        self._recorded.update(values)

    def take_recorded(self) -> dict[str, Tensor | float]:
        """Returns the figures that were recorded since the last call."""
        recorded, self._recorded = self._recorded, {}
        return recorded

    def forward(self, batch: Batch) -> Tensor:
        """Returns the (n, B, D) views of `batch`, not normalised."""
        return self.encoder(batch.images, batch.captions)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Returns the loss over the samples of all processes; each sample is a negative of every other sample."""
        views = gather_views(self(batch))
        if self._first_batch:
            self._prepare_scale(views.detach())
        self._view_gradients.watch(views)
        loss = self.loss(views, self.multiplier())
        self._epoch_mean.add(loss.detach())
        self.log("train/loss", loss.detach(), prog_bar=True, logger=False)
        return loss

    def _prepare_scale(self, views: Tensor) -> None:
        """Chooses the scale where loss.scale_init=auto; prints a warning where logits are too small to learn from."""
        self._first_batch = False
        if self.scale_due:
            start, cap = self.choose_scale(self.loss, views)
            self.record({"train/logit_scale_start": start, "train/logit_scale_cap": cap})
        warning = reach_warning(self.loss, views, self.multiplier().detach())
        if warning:
            self.print(f"warning: {warning}")

    def on_train_start(self) -> None:
        """Continues with the learning rate of the checkpoint, if there is one; prints the notices of the loss."""
        self.learning_rate.resume(self.optimizers(use_pl_optimizer=False), self.lr_schedulers())
        for notice in self.loss.notices:
            self.print(notice)

    def optimizer_step(self, *arguments: Any, **keywords: Any) -> None:
        """Makes one step, lowers the scale to its cap, and records the train/* metrics when a row is due."""
        super().optimizer_step(*arguments, **keywords)
        self.limit_scale()
        self._view_gradients.clear()
        losses = self._epoch_mean.end_step(skipped=self.step_skipped)
        if due(self.global_step + 1, self.log_every_n_steps, self.trainer.estimated_stepping_batches):
            self.record({"train/loss": losses.mean(), "train/logit_scale": self.multiplier().detach(), **self._rates()})

    def _rates(self) -> dict[str, float]:
        """Returns the learning rates of the step as train/lr and, with optimizer.lr_scale, train/lr_<tower>."""
        scales = self.optimizer_config.lr_scale
        return rate_columns(self.trainer.optimizers[0], scales, tuple(tower_parameters(self.encoder)) if scales else ())

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Moves the learning rate, unless the optimizer step was skipped."""
        if not self.step_skipped:
            super().lr_scheduler_step(scheduler, metric)
        self.step_skipped = False

    def on_train_epoch_end(self) -> None:
        """Logs the mean loss of the epoch, for early stopping and the plateau schedule."""
        mean = self._epoch_mean.end_epoch()
        if mean is not None:
            self.log("train/epoch_loss", mean, logger=False, sync_dist=True)
            self.learning_rate.end_epoch(mean)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Returns one optimizer, and one schedule that moves with every optimizer step."""
        scaled = scaled_parameters(self.encoder, self.logit_scale, tuple(self.optimizer_config.lr_scale))
        optimizer = make_optimizer(self, self.optimizer_config, scaled)
        schedule = self.learning_rate.schedule(optimizer, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the weights do not hold: the architecture, and what changes between two steps."""
        checkpoint["architecture"] = dict(self.encoder.architecture)
        checkpoint["scale_due"] = self.scale_due
        checkpoint["epoch_loss"] = self._epoch_mean.state_dict()
        checkpoint["train_figures"] = self.train_figures()
        checkpoint |= self.learning_rate.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` added. Checkpoints of earlier versions have no `train_figures`."""
        self.scale_due = checkpoint["scale_due"]
        self._epoch_mean.load_state_dict(checkpoint["epoch_loss"])
        self._earlier_figures = checkpoint.get("train_figures", {})
        self.learning_rate.load_state_dict(checkpoint)

    def train_figures(self) -> dict[str, float]:
        """Returns the last value of each train/* metric, including the metrics in the checkpoint of a continued run."""
        logged = {key: float(value) for key, value in self.trainer.callback_metrics.items() if key.startswith("train/")}
        return self._earlier_figures | logged

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Collects the views of the batch; the metrics are computed from the whole split."""
        self._evaluated.add(self(batch), batch.indices)

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Collects the views of the batch, as in validation."""
        self.validation_step(batch, batch_index)

    def on_validation_epoch_end(self) -> None:
        """Records the val/* metrics, and shows two of them in the progress bar."""
        self.validation_views = self._evaluated.gather()
        figures = {f"val/{name}": value for name, value in self._figures(self.validation_views).items()}
        self.record(figures)
        for in_bar in (True, False):
            group = {key: value for key, value in figures.items() if (key in IN_BAR) == in_bar}
            self.log_dict(group, prog_bar=in_bar, logger=False, sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """Logs the metrics of a split of `evaluate`, under names without a prefix."""
        self.test_views = self._evaluated.gather()
        self.test_ranks = rank_from_other_views(self.loss, self.test_views.to(self.device))
        self.log_dict(self._figures(self.test_views, self.test_ranks), logger=False, sync_dist=True)

    def _figures(self, views: Tensor, ranks: list[MatchCounts] | None = None) -> dict[str, float]:
        """Returns the metrics of one evaluation, in batches of as many samples as all processes train with at once.

        ranks: see `validation_figures`.
        """
        batch_size = self.batch_size * self.trainer.world_size
        return validation_figures(self.loss, views.to(self.device), self.multiplier(), batch_size, ranks)

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """Returns the trained parameters of each tower, for the gradient monitor."""
        return tower_parameters(self.encoder)

    def view_gradients(self) -> dict[str, Tensor]:
        """Returns, for each view, the norm of the gradient of the unscaled loss with respect to its features, over the
        batches of this step; nothing before the first backward pass.
        """
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        norms = self._view_gradients.norms(scaler.get_scale() if scaler is not None else 1.0)
        return {} if norms is None else dict(zip(self.encoder.plan.names, norms, strict=True))
