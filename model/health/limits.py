"""The settings of the gradient monitor: one source of truth for types, defaults and ranges. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from model.errors import ConfigError, at_least, one_of, require, within

POLICIES = ("warn", "skip", "halt")
# Names of strategies under which each process holds a nameless part of the gradient.
FLAT_SHARDS = ("fsdp", "deepspeed")


# Noise beyond it leaves nothing of any gradient.
MOST_NOISE = 1e6


@dataclass(frozen=True)
class HealthSettings:
    """What is measured, and what is done about it; the keys of ``conf/monitor``. Raises ConfigError for a value out of
    range.
    """

    clip: float | None = None
    """Maximum global gradient norm; None: do not clip."""
    clip_above: float | None = None
    """Gradients above this norm are scaled down to `clip`; None: those above `clip`."""
    every_n_steps: int = 10
    """Optimizer steps between two rows of metrics."""
    vanishing: float = 1e-7
    """A gradient norm below this counts as vanishing."""
    exploding: float = 100.0
    """A gradient norm above this counts as exploding."""
    on_nonfinite: str = "skip"
    """What a NaN or Inf in the loss or the gradient leads to: one of `POLICIES`."""
    max_skips: int = 10
    """Steps in a row that may be skipped; the next bad one halts."""
    per_layer: bool = False
    """Whether the norm of every layer is among the metrics."""
    activations: bool = False
    """Whether the outputs of every leaf module are measured when a row is due."""
    noise_std: float = 0.0
    """Standard deviation of the gradient noise at the first step; 0: none."""
    noise_gamma: float = 0.55
    """How fast the noise's variance falls: as (1 + step)^-gamma."""

    def __post_init__(self) -> None:
        check_clipping(self.clip, self.clip_above)
        at_least("monitor.every_n_steps", self.every_n_steps, 1)
        at_least("monitor.vanishing", self.vanishing, 0)
        require(
            self.exploding > self.vanishing,
            "monitor.exploding",
            self.exploding,
            "is not above monitor.vanishing",
            f"a number above {self.vanishing}",
        )
        one_of("monitor.on_nonfinite", self.on_nonfinite, POLICIES)
        at_least("monitor.max_skips", self.max_skips, 0)
        within("monitor.noise_std", self.noise_std, 0, MOST_NOISE)
        at_least("monitor.noise_gamma", self.noise_gamma, 0)

    @property
    def above(self) -> float | None:
        """The norm above which gradients are clipped; None: never."""
        return self.clip if self.clip_above is None else self.clip_above

    @property
    def decides(self) -> bool:
        """Whether a bad step is prevented, for which every step's verdict must be known before the step."""
        return self.on_nonfinite != "warn"


def check_clipping(clip: float | None, clip_above: float | None) -> None:
    """Raises ConfigError unless `clip` is a positive number, and `clip_above` no smaller, where they are given."""
    if clip is not None:
        require(0 < clip < float("inf"), "monitor.clip", clip, "is not positive", "null or a number above 0")
    if clip_above is not None:
        allowed = "null" if clip is None else f"null or {clip} (monitor.clip) and more"
        problem = "needs monitor.clip" if clip is None else "is below monitor.clip"
        require(clip is not None and clip_above >= clip, "monitor.clip_above", clip_above, problem, allowed)


def refuse_two_clippings(ours: float | None, lightnings: float | None) -> None:
    """Raises ConfigError where both monitor.clip and trainer.gradient_clip_val are set."""
    if ours is not None and lightnings is not None:
        raise ConfigError(
            f"trainer.gradient_clip_val={lightnings} clips what monitor.clip={ours} clips already; allowed: one of "
            f"the two"
        )


def refuse_strategy(name: str) -> None:
    """Raises ConfigError for a value of trainer.strategy under which no process can see a whole gradient."""
    if name.startswith(FLAT_SHARDS):
        raise ConfigError(
            f"trainer.strategy={name} hides gradients from the monitor; allowed: auto, ddp, ddp_spawn, or any with "
            f"monitor=off"
        )
