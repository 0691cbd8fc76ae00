"""The gradient of the loss with respect to each view. Shapes: n views, B rows, D features."""

from __future__ import annotations

from torch import Tensor


class ViewGradients:
    """Adds up, over the batches of one optimizer step, the squared gradient of the loss with respect to each view.

    The sum over accumulated batches is the squared norm for one large batch of all their rows.
    """

    def __init__(self) -> None:
        self._squares: Tensor | None = None

    def watch(self, views: Tensor) -> None:
        """Measures the gradient with respect to `views` (n, B, D) when the backward pass computes it."""
        views.register_hook(self._add)

    def _add(self, gradient: Tensor) -> None:
        squares = gradient.float().flatten(1).square().sum(dim=1)
        self._squares = squares if self._squares is None else self._squares + squares

    def clear(self) -> None:
        """Forgets the batches of the step."""
        self._squares = None

    def norms(self, loss_scale: float) -> Tensor | None:
        """Returns the (n,) norms for the unscaled loss; None before the first backward pass of the step.

        loss_scale: the number by which a gradient scaler has multiplied the loss; 1 without a scaler.
        """
        return None if self._squares is None else self._squares.sqrt() / loss_scale
