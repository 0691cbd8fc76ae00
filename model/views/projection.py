"""`model.projection`: a learned (D, D) matrix P between the features of the image and those of the captions. P starts
as the identity.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Apply = Callable[[Tensor, Tensor], Tensor]


def on_captions(views: Tensor, matrix: Tensor) -> Tensor:
    """`none`: multiplies the features of all captions by P."""
    return torch.cat([views[:1], views[1:] @ matrix])


def on_image(views: Tensor, matrix: Tensor) -> Tensor:
    """`inv`: multiplies the image's features by P."""
    return torch.cat([views[:1] @ matrix, views[1:]])


def inverse_on_image(views: Tensor, matrix: Tensor) -> Tensor:
    """`iinv`: multiplies the image's features by the inverse of P. It solves a linear system in float32 or wider,
    because torch has no kernel for half precision.
    """
    with torch.autocast(views.device.type, enabled=False):
        wide = torch.promote_types(views.dtype, torch.float32)
        image = torch.linalg.solve(matrix.to(wide), views[0].to(wide), left=False)
    return torch.cat([image.to(views.dtype)[None], views[1:]])


APPLY: dict[str, Apply] = {"none": on_captions, "inv": on_image, "iinv": inverse_on_image}


class Projection(nn.Module):
    """Applies P to (n, B, D) views, of which the first is the image. The shape stays the same."""

    def __init__(self, features: int, apply: Apply) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(features))
        self.apply_to = apply

    def forward(self, views: Tensor) -> Tensor:
        """Returns the projected views."""
        return self.apply_to(views, self.matrix)


def make_projection(name: str, features: int) -> nn.Module:
    """Returns the module for a value of model.projection. `identity` has no P and leaves the features unchanged."""
    return nn.Identity() if name == "identity" else Projection(features, APPLY[name])
