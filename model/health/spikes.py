"""Whether a loss jumps out of what it was. Standard library only."""

from __future__ import annotations

import math

# Losses that must be known before one can stand out, deviations that it must exceed the mean by, and the share of the
# mean it must exceed.
WARM_UP, DEVIATIONS, SHARE = 50, 6.0, 1.5
# Weight of the newest loss in the running figures.
NEWEST = 0.05


class SpikeDetector:
    """Running mean and mean absolute deviation of the losses of a run, exponentially weighed."""

    def __init__(self) -> None:
        self.seen, self.mean, self.deviation = 0, 0.0, 0.0

    def spikes(self, loss: float) -> bool:
        """Whether `loss` stands out from those before it; then takes it up, unless it is not finite."""
        if not math.isfinite(loss):
            return False
        limit = max(self.mean + DEVIATIONS * self.deviation, SHARE * self.mean)
        spike = self.seen >= WARM_UP and loss > limit
        weight = max(NEWEST, 1 / (self.seen + 1))
        self.deviation += weight * (abs(loss - self.mean) - self.deviation) if self.seen else 0.0
        self.mean += weight * (loss - self.mean)
        self.seen += 1
        return spike
