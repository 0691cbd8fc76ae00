"""Old name of `model.views.projection`, which `model.projection` chooses from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from model.config.old_flags import projection as today
from model.views.projection import APPLY

Project = Callable[..., tuple[list[Tensor], list[Tensor]]]


def get_proj_fn(projection: str = "None") -> Project:
    """f(P, im=[…], text=[…]) -> (images, texts), each a (B, D) matrix: `None` multiplies the texts by P, `inv` the
    images, `iinv` the images by the inverse of P, and every other word nothing.
    """
    (name,) = today(str(projection)).values()
    warnings.warn(
        f"model.Projection.get_proj_fn is an old name; use model.projection={name}", DeprecationWarning, stacklevel=2
    )

    def project(
        proj: Tensor, im: Sequence[Tensor] = (), text: Sequence[Tensor] = ()
    ) -> tuple[list[Tensor], list[Tensor]]:
        if name == "identity":
            return list(im), list(text)
        # Today's functions take the image first and any number of captions behind it.
        images = [APPLY[name](one[None], proj)[0] for one in im]
        texts = [APPLY[name](torch.stack([one, one]), proj)[1] for one in text]
        return images, texts

    return project
