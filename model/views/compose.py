"""Which views a model has, and the module that makes them. Shapes: n views, B rows, K captions, T tokens, D
features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.views.projection import make_projection
from model.views.towers import SpecialTokens, Towers, at_rows, build_towers, end_positions, load_towers
from model.views.translate import END_CHOICES, TOKEN_CHOICES, Choice, chosen_embeddings, chosen_row, end_similarity
from model.views.translator import StateTranslator, TokenTranslator


@dataclass(frozen=True)
class ViewPlan:
    """Which captions (counted from 0) make which views. The image is always the first view; the others follow in this
    order.
    """

    direct: tuple[int, ...]
    translated: tuple[int, ...] = ()
    decoded: tuple[int, ...] = ()
    encoded: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """One name per view, in order: image, caption_1, decoded_2, …"""
        kinds = (
            ("caption", self.direct),
            ("translated", self.translated),
            ("decoded", self.decoded),
            ("encoded", self.encoded),
        )
        return ("image", *(f"{kind}_{index + 1}" for kind, captions in kinds for index in captions))

    @property
    def captions(self) -> int:
        """How many captions of a sample are read."""
        return 1 + max(self.direct + self.translated + self.decoded + self.encoded)


def plan_views(model: str, captions: int, reads: int | None = None) -> ViewPlan:
    """The views of `model` with so many captions; only the first `reads` views where a loss reads no more (None:
    all).
    """
    further = tuple(range(1, captions))
    plans = {
        "clip": ViewPlan(direct=tuple(range(captions))),
        "v5335dim": ViewPlan(direct=(0,), translated=further),
        "v534dim": ViewPlan(direct=(0,), decoded=further, encoded=further),
    }
    plan, left = plans[model], reads
    if left is None:
        return plan
    left -= 1
    for kind in ("direct", "translated", "decoded", "encoded"):
        kept = getattr(plan, kind)[:left]
        plan, left = replace(plan, **{kind: kept}), left - len(kept)
    return plan


def translator_choices(sizes) -> dict[str, str]:
    """Where the encoder-decoder normalises, and how its first weights were drawn."""
    return {key: getattr(sizes, key) for key in ("translator_norm", "translator_init")}


class ViewEncoder(nn.Module):
    """Images and captions -> (n, B, D) views, as `plan` says, projected by P, not normalised."""

    def __init__(
        self, plan: ViewPlan, sizes, tokens: SpecialTokens, *, projection: str, token_select: str, eot_select: str
    ) -> None:
        """`sizes` has the fields of BackboneConfig; the choices are values of model.projection, model.token_select,
        model.eot_select.
        """
        super().__init__()
        self.plan = plan
        self.tokens = tokens
        self.towers: Towers = load_towers(sizes.pretrained, tokens) if sizes.pretrained else build_towers(sizes, tokens)
        self.states = StateTranslator(sizes, tokens) if plan.decoded or plan.encoded else None
        self.translator = TokenTranslator(sizes, tokens) if plan.translated else None
        self.architecture = translator_choices(sizes) if self.states or self.translator else {}
        """What decides how weights are read, beside their shapes; part of a checkpoint."""
        self.projection = make_projection(projection, self.towers.features)
        self.choose_tokens: Choice = TOKEN_CHOICES[token_select]
        self.choose_end: Choice = END_CHOICES[eot_select]

    def forward(self, images: Tensor, captions: Tensor) -> Tensor:
        """images (B, 3, H, W), captions (B, K, T) with K of at least `plan.captions` -> (n, B, D)."""
        rows = [self.towers.image(images)[None], self._direct(captions)]
        if self.plan.translated:
            rows.append(self._translated(captions))
        if self.plan.decoded or self.plan.encoded:
            rows.append(self._decoded_and_encoded(captions))
        return self.projection(torch.cat([row.to(rows[0].dtype) for row in rows]))

    def image_features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D): the image view alone."""
        rows = self.towers.image(images)
        return self.projection(torch.stack([rows, torch.zeros_like(rows)]))[0]

    def caption_features(self, tokens: Tensor) -> Tensor:
        """(B, T) tokens of any text -> (B, D): as the view of caption 1 is made, by the text tower."""
        rows = self.towers.caption(tokens, end_positions(tokens, self.tokens.end))
        return self.projection(torch.stack([torch.zeros_like(rows), rows]))[1]

    def _select(self, captions: Tensor, chosen: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """(K', B) captions laid out as (K' * B, T) tokens, and the (K' * B,) position of their end token."""
        tokens = captions[:, list(chosen)].transpose(0, 1).flatten(0, 1)
        return tokens, end_positions(tokens, self.tokens.end)

    def _direct(self, captions: Tensor) -> Tensor:
        """Captions through the text tower -> (K', B, D)."""
        tokens, end = self._select(captions, self.plan.direct)
        return self.towers.caption(tokens, end).unflatten(0, (-1, len(captions)))

    def _translated(self, captions: Tensor) -> Tensor:
        """Captions, translated into token embeddings, through the text transformer; the row at the input's end -> (K',
        B, D).
        """
        tokens, end = self._select(captions, self.plan.translated)
        weights = self.choose_tokens(self.translator(tokens), self.training)
        states = self.towers.read(chosen_embeddings(weights, self.towers.token_embedding))
        return self.towers.project(at_rows(states, end)).unflatten(0, (-1, len(captions)))

    def _decoded_and_encoded(self, captions: Tensor) -> Tensor:
        """Decoder states through the text transformer, then encoder states at the end token -> (K' + K'', B, D)."""
        tokens, end = self._select(captions, self.plan.decoded)
        encoded, decoded = self.states(tokens)
        decoded = F.normalize(decoded.float(), dim=-1).to(decoded.dtype)
        choice = self.choose_end(end_similarity(decoded, self.towers.token_embedding[self.tokens.end]), self.training)
        rows = [chosen_row(self.towers.read(decoded), choice)]
        if self.plan.encoded:
            kept = len(self.plan.encoded) * len(captions)
            rows.append(at_rows(encoded[:kept], end[:kept]))
        return self.towers.project(torch.cat(rows)).unflatten(0, (-1, len(captions)))
