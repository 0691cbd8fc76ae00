"""What to do about a signal: one table, and who remembers what was said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from model.health.examine import GradientReport, smallest

# Optimizer steps within which the same kind of advice is given once.
SPAN_STEPS = 1000


class Recommendation(str):
    """Advice in words that knows its kind, a key of `TABLE`."""

    kind: str

    def __new__(cls, kind: str, text: str) -> Recommendation:
        made = super().__new__(cls, text)
        made.kind = kind
        return made


@dataclass(frozen=True)
class Advice:
    """A finding and what helps, in the order in which to try it."""

    finding: str
    remedies: tuple[str, ...]

    def text(self, figures: Mapping[str, object]) -> str:
        """The finding with its figures, and the numbered remedies on a second line."""
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
            "freezing them with requires_grad_(False) if that is meant",
        ),
    ),
    "unprotected": Advice(
        "A step that is not finite was taken (monitor.on_nonfinite=warn): the weights may be lost!",
        (
            "monitor.on_nonfinite=skip",
            "monitor.on_nonfinite=halt",
            "going back to a checkpoint with ckpt_path=last or best",
        ),
    ),
    "saturated": Advice(
        "Saturated activations: {share:.0%} of the outputs of {layer} are at the end of their range!",
        (
            "a lower optimizer.lr",
            "normalisation before that layer",
            "an activation that does not saturate, backbone.activation=gelu",
        ),
    ),
    "dead_units": Advice(
        "Dead units: {share:.0%} of the units of {layer} gave nothing for a whole batch!",
        (
            "a lower optimizer.lr or longer schedule.warmup",
            "an activation without a dead side, backbone.activation=gelu",
        ),
    ),
    "scale_cap": Advice(
        "The logit scale is at its cap ({cap:.0f})!",
        (
            "a lower optimizer.lr",
            "a larger data.batch_size",
            "another loss, if it stays there while val/recall@1 falls",
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
            "backbone.translator_norm=pre for them",
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
            "fewer captions with model.captions if the captions of a sample say the same",
            "a lower optimizer.lr or longer schedule.warmup",
        ),
    ),
    "line_at_chance": Advice(
        "Line at chance: its match ranks as if by guessing, median rank over guessing's {views}!",
        (
            "loss.scale_init=auto",
            "checking that the captions belong to their images",
            "a lower optimizer.lr or longer schedule.warmup if the loss does not fall",
            "another loss, such as loss=normsv5",
        ),
    ),
}


def recommend(kind: str, **figures: object) -> Recommendation:
    """The entry of `TABLE` for `kind`, with its figures filled in."""
    return Recommendation(kind, TABLE[kind].text(figures))


def gradient_advice(
    report: GradientReport, layers: Mapping[str, float], without: Sequence[str], vanishing: float, exploding: float
) -> list[Recommendation]:
    """Advice for one measurement of the gradients, worst first.

    layers: the norms among which to look for vanishing ones, by name; without: names of trained parameters that have no
    gradient; vanishing, exploding: thresholds on the smallest of `layers` and on the global norm.
    """
    found: list[Recommendation] = []
    if report.nan:
        found.append(recommend("nan", layers=listed(report.nan)))
    if report.inf:
        found.append(recommend("inf", layers=listed(report.inf)))
    if report.finite and report.global_norm > exploding:
        found.append(recommend("exploding", norm=report.global_norm))
    layer, norm = smallest(layers)
    if layer and norm < vanishing:
        found.append(recommend("vanishing", norm=norm, layer=layer))
    if without:
        found.append(recommend("dead", count=len(without), layers=listed(without)))
    return found


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class Adviser:
    """Lets every kind of advice through once in `span` steps."""

    def __init__(self, span: int = SPAN_STEPS) -> None:
        self.span = span
        self.said: dict[str, int] = {}

    def news(self, recommendations: Iterable[Recommendation], step: int) -> list[Recommendation]:
        """Those whose kind was not given in the last `span` steps; remembers them."""
        fresh = [
            advice
            for advice in recommendations
            if advice.kind not in self.said or not 0 <= step - self.said[advice.kind] < self.span
        ]
        self.said.update({advice.kind: step for advice in fresh})
        return fresh
