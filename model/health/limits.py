"""The settings of the gradient monitor, with types, defaults and ranges. Standard library only.

conf/monitor/_keys.yaml repeats the defaults for the command line; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.errors import ConfigError, at_least, one_of, require, within

POLICIES = ("warn", "skip", "halt")
# Strategies under which each process holds a part of the flattened gradient, in which no parameter has a name.
SHARDED_STRATEGIES = ("fsdp", "deepspeed")
# Noise with a larger standard deviation than this leaves nothing of any gradient.
MAX_NOISE_STD = 1e6


@dataclass(frozen=True)
class HealthSettings:
    """What the monitor measures and how it acts: the keys of `conf/monitor`. Raises ConfigError for a value out of
    range.
    """

    clip: float | None = None
    """The global norm that larger gradients are scaled down to; None: do not clip."""
    clip_above: float | None = None
    """Gradients with a norm above this are scaled down to `clip`; None: gradients above `clip`."""
    every_n_steps: int = 10
    """The number of optimizer steps between two rows of metrics."""
    vanishing: float = 1e-7
    """A gradient norm below this counts as vanishing."""
    exploding: float = 100.0
    """A gradient norm above this counts as exploding."""
    on_nonfinite: str = "skip"
    """The action for a NaN or Inf in the loss or the gradient: one of `POLICIES`."""
    max_skips: int = 10
    """The number of steps that may be skipped in a row; the next bad step halts training."""
    per_layer: bool = False
    """Whether the norm of every layer is among the metrics."""
    activations: bool = False
    """Whether the outputs of every leaf module are measured for each row."""
    noise_std: float = 0.0
    """The standard deviation of the gradient noise at the first step; 0: no noise."""
    noise_gamma: float = 0.55
    """The exponent of the decay of the noise's variance: (1 + step)^-gamma."""

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
        within("monitor.noise_std", self.noise_std, 0, MAX_NOISE_STD)
        at_least("monitor.noise_gamma", self.noise_gamma, 0)

    @property
    def clip_threshold(self) -> float | None:
        """The norm above which gradients are clipped; None: never."""
        return self.clip if self.clip_above is None else self.clip_above

    @property
    def prevents_bad_steps(self) -> bool:
        """Whether a bad step must not be applied, so that the host must read the figures of each step before it."""
        return self.on_nonfinite != "warn"


def check_clipping(clip: float | None, clip_above: float | None) -> None:
    """Raises ConfigError unless `clip` is None or positive, and `clip_above` is None or at least `clip`."""
    if clip is not None:
        require(0 < clip < float("inf"), "monitor.clip", clip, "is not positive", "null or a number above 0")
    if clip_above is not None:
        allowed = "null" if clip is None else f"null or {clip} (monitor.clip) and more"
        problem = "needs monitor.clip" if clip is None else "is below monitor.clip"
        require(clip is not None and clip_above >= clip, "monitor.clip_above", clip_above, problem, allowed)


def refuse_two_clippings(monitor_clip: float | None, trainer_clip: float | None) -> None:
    """Raises ConfigError where both monitor.clip and trainer.gradient_clip_val are set."""
    if monitor_clip is not None and trainer_clip is not None:
        raise ConfigError(
            f"trainer.gradient_clip_val={trainer_clip} clips what monitor.clip={monitor_clip} clips already; allowed: "
            f"one of the two"
        )


def refuse_strategy(name: str) -> None:
    """Raises ConfigError for a value of trainer.strategy under which no process holds a whole gradient."""
    if name.startswith(SHARDED_STRATEGIES):
        raise ConfigError(
            f"trainer.strategy={name} hides gradients from the monitor; allowed: auto, ddp, ddp_spawn, or any with "
            f"monitor=off"
        )
