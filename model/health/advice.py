"""Gives advice on a signal: one table of advice, and a filter that drops repetitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from model.health.examine import GradientReport, smallest

# The number of optimizer steps within which the same kind of advice is given once.
SPAN_STEPS = 1000


class Recommendation(str):
    """Advice in words, with its kind: a key of `TABLE`."""

    kind: str

    def __new__(cls, kind: str, text: str) -> Recommendation:
        recommendation = super().__new__(cls, text)
        recommendation.kind = kind
        return recommendation


@dataclass(frozen=True)
class Advice:
    """A finding, and the remedies in the order in which to try them."""

    finding: str
    remedies: tuple[str, ...]

    def text(self, figures: Mapping[str, object]) -> str:
        """Returns the finding with its figures, and the numbered remedies on a second line."""
        numbered = ", ".join(f"({number}) {remedy}" for number, remedy in enumerate(self.remedies, start=1))
        return f"⚠️ {self.finding.format(**figures)}\n   Consider: {numbered}"


TABLE: dict[str, Advice] = {
    "nan": Advice(
        "NaN detected in gradients ({layers})!",
        (
            "monitor.on_nonfinite=skip or halt",
            "a lower optimizer.lr",
            "trainer.precision=bf16-mixed or 32-true",
            "trainer.detect_anomaly=true to find the operation",
        ),
    ),
    "inf": Advice(
        "Inf detected in gradients ({layers})!",
        (
            "monitor.on_nonfinite=skip or halt",
            "a much lower optimizer.lr",
            "loss.normalize=true",
            "trainer.precision=bf16-mixed or 32-true",
        ),
    ),
    "exploding": Advice(
        "Exploding gradients detected (norm={norm:.2f})!",
        (
            "clipping with monitor.clip=1.0 (torch.nn.utils.clip_grad_norm_)",
            "a lower optimizer.lr",
            "averaging over more batches with trainer.accumulate_grad_batches=4",
        ),
    ),
    "vanishing": Advice(
        "Vanishing gradients detected (min norm={norm:.2e} in {layer})!",
        (
            "residual connections or normalisation around that layer",
            "an activation that does not saturate, backbone.activation=gelu",
            "a higher optimizer.lr",
        ),
    ),
    "dead": Advice(
        "{count} trained parameters have no gradient ({layers})!",
        (
            "checking that the loss depends on them",
            "freezing them with requires_grad_(False) if they should not be trained",
        ),
    ),
    "unprotected": Advice(
        "A step that is not finite was applied (monitor.on_nonfinite=warn): the weights may be lost!",
        (
            "monitor.on_nonfinite=skip",
            "monitor.on_nonfinite=halt",
            "resuming from a checkpoint with ckpt_path=last or best",
        ),
    ),
    "saturated": Advice(
        "Saturated activations: {share:.0%} of the outputs of {layer} are at an end of their range!",
        (
            "a lower optimizer.lr",
            "normalisation before that layer",
            "an activation that does not saturate, backbone.activation=gelu",
        ),
    ),
    "dead_units": Advice(
        "Dead units: {share:.0%} of the units of {layer} stayed near 0 for a whole batch!",
        (
            "a lower optimizer.lr or longer schedule.warmup",
            "an activation with a gradient on both sides of 0, backbone.activation=gelu",
        ),
    ),
    "scale_cap": Advice(
        "The logit scale is at its cap ({cap:.0f})!",
        (
            "a lower optimizer.lr",
            "a larger data.batch_size",
            "another loss if the scale stays there while val/recall@1 falls",
        ),
    ),
    "loss_spike": Advice(
        "Loss spike: {loss:.4g} after a running mean of {mean:.4g}!",
        (
            "clipping with monitor.clip=1.0",
            "a lower optimizer.lr or longer schedule.warmup",
            "a smaller second beta, optimizer.betas=[0.9,0.95]",
        ),
    ),
    "blind_view": Advice(
        "Blind view: nearly the same for different texts of equal length, mean cosine {views}!",
        (
            "backbone.translator_init=fan_in for views of the encoder-decoder (all but image and caption)",
            "backbone.translator_norm=pre for these views",
            "a larger backbone.text_width",
            "a lower optimizer.lr or longer schedule.warmup if the view stays so",
        ),
    ),
    "collapsed_view": Advice(
        "Collapsed view: nearly the same for different samples, mean cosine {views}!",
        (
            "a lower optimizer.lr or longer schedule.warmup",
            "backbone.translator_init=fan_in for views of the encoder-decoder",
            "a larger data.batch_size",
            "another loss",
        ),
    ),
    "equal_views": Advice(
        "Equal views: nearly the same for every sample, mean cosine {views}!",
        (
            "backbone.translator_init=fan_in for views of the encoder-decoder",
            "fewer captions with model.captions if the captions of a sample have the same content",
            "a lower optimizer.lr or longer schedule.warmup",
        ),
    ),
    "line_at_chance": Advice(
        "Line at chance: the match ranks no better than a random candidate, median rank relative to chance {views}!",
        (
            "loss.scale_init=auto",
            "checking that the captions belong to their images",
            "a lower optimizer.lr or longer schedule.warmup if the loss does not fall",
            "another loss, such as loss=normsv5",
        ),
    ),
}


def recommend(kind: str, **figures: object) -> Recommendation:
    """Returns the entry of `TABLE` for `kind`, with its figures filled in."""
    return Recommendation(kind, TABLE[kind].text(figures))


def gradient_advice(
    report: GradientReport,
    layers: Mapping[str, float],
    without_gradient: Sequence[str],
    vanishing: float,
    exploding: float,
) -> list[Recommendation]:
    """Returns advice for one measurement of the gradients, the worst problem first.

    layers: the norms among which vanishing ones are searched, by name. without_gradient: the trained parameters without
    a gradient. vanishing, exploding: the limits for the smallest norm of `layers` and for the global norm.
    """
    advice: list[Recommendation] = []
    if report.nan:
        advice.append(recommend("nan", layers=join_names(report.nan)))
    if report.inf:
        advice.append(recommend("inf", layers=join_names(report.inf)))
    if report.finite and report.global_norm > exploding:
        advice.append(recommend("exploding", norm=report.global_norm))
    layer, norm = smallest(layers)
    if layer and norm < vanishing:
        advice.append(recommend("vanishing", norm=norm, layer=layer))
    if without_gradient:
        advice.append(recommend("dead", count=len(without_gradient), layers=join_names(without_gradient)))
    return advice


def join_names(names: Sequence[str], limit: int = 3) -> str:
    """Returns the first `limit` names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


class AdviceFilter:
    """Lets each kind of advice pass once in `span` steps."""

    def __init__(self, span: int = SPAN_STEPS) -> None:
        self.span = span
        self.last_steps: dict[str, int] = {}
        """The step at which each kind passed last."""

    def select(self, recommendations: Iterable[Recommendation], step: int) -> list[Recommendation]:
        """Returns the recommendations whose kind has not passed in the last `span` steps, and remembers them."""
        selected = [
            advice
            for advice in recommendations
            if advice.kind not in self.last_steps or not 0 <= step - self.last_steps[advice.kind] < self.span
        ]
        self.last_steps.update({advice.kind: step for advice in selected})
        return selected
