"""A small model for the tests of the old gradient modules."""

from __future__ import annotations

import torch
from torch import nn


class TwoTowers(nn.Module):
    """Two towers of two layers and a scale: nine parameters."""

    def __init__(self, features: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image_encoder = nn.Sequential(nn.Linear(features, features), nn.GELU(), nn.Linear(features, features))
        self.text_encoder = nn.Sequential(nn.Linear(features, features), nn.GELU(), nn.Linear(features, features))
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))

    def forward(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        image, text = (
            nn.functional.normalize(features, dim=-1)
            for features in (self.image_encoder(images), self.text_encoder(texts))
        )
        return image @ text.T * self.logit_scale.exp()
