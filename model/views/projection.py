"""`model.projection`: a learned (D, D) matrix P, starting as the identity, between the image's and the captions'
features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Apply = Callable[[Tensor, Tensor], Tensor]


def on_captions(views: Tensor, matrix: Tensor) -> Tensor:
    """`none`: the features of all captions times P."""
    return torch.cat([views[:1], views[1:] @ matrix])


def on_image(views: Tensor, matrix: Tensor) -> Tensor:
    """`inv`: the image's features times P."""
    return torch.cat([views[:1] @ matrix, views[1:]])


def inverse_on_image(views: Tensor, matrix: Tensor) -> Tensor:
    """`iinv`: the image's features times the inverse of P, by a solve in float32 or wider (no half-precision kernel
    exists).
    """
    with torch.autocast(views.device.type, enabled=False):
        wide = torch.promote_types(views.dtype, torch.float32)
        image = torch.linalg.solve(matrix.to(wide), views[0].to(wide), left=False)
    return torch.cat([image.to(views.dtype)[None], views[1:]])


APPLY: dict[str, Apply] = {"none": on_captions, "inv": on_image, "iinv": inverse_on_image}


class Projection(nn.Module):
    """(n, B, D) views, the image first -> the same shape with P applied."""

    def __init__(self, features: int, apply: Apply) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(features))
        self.apply_to = apply

    def forward(self, views: Tensor) -> Tensor:
        return self.apply_to(views, self.matrix)


def make_projection(name: str, features: int) -> nn.Module:
    """`name`: a value of model.projection; `identity` has no P."""
    return nn.Identity() if name == "identity" else Projection(features, APPLY[name])
