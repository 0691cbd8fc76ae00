"""Old name of `model.views.projection`, from which the key model.projection chooses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from model.config.old_flags import projection as today
from model.views.projection import APPLY

Project = Callable[..., tuple[list[Tensor], list[Tensor]]]


def get_proj_fn(projection: str = "None") -> Project:
    """Returns f(P, im=[…], text=[…]) -> (images, texts), where each view is a (B, D) matrix. With `None`, f multiplies
    the texts by P; with `inv` the images by P; with `iinv` the images by the inverse of P; with another word nothing.
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
        # The functions of APPLY take the image first and any number of captions after it.
        images = [APPLY[name](image[None], proj)[0] for image in im]
        texts = [APPLY[name](torch.stack([rows, rows]), proj)[1] for rows in text]
        return images, texts

    return project
