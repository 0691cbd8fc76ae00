"""The parts of analysis.json, each a function of the run's material; None where a part has no meaning. Shapes: n views,
N samples, K captions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.analysis.bootstrap import intervals
from model.analysis.cka import LEAST, MinibatchCKA
from model.analysis.geometry import geometry
from model.analysis.layers import image_grams, image_layers, text_grams, text_layers
from model.analysis.material import Material
from model.analysis.probes import probe
from model.analysis.rest import rest_places
from model.analysis.retrieval import KS, Places, find, hits, ranks
from model.analysis.tokens import token_figures, token_names
from model.analysis.zero_shot import class_features, majority, zero_shot_hits
from model.config.schema import AnalysisConfig
from model.record.files import write_whole
from model.views.towers import Towers


@dataclass(frozen=True)
class Settings:
    """What the parts go by."""

    config: AnalysisConfig
    splits: tuple[str, ...]
    """Those that are evaluated, in order; at least one."""
    seed: int
    loss: nn.Module
    reference: Callable[[], tuple[Towers, str]]
    """Makes the model that cka compares with, and says what it is."""
    folder: Path

    @property
    def held_out(self) -> str:
        """The first evaluated split that was not trained on; val where there is none."""
        return next((split for split in self.splits if split != "train"), "val")


def retrieval_part(material: Material, settings: Settings) -> dict:
    """Split -> recall and median rank of image and captions, of any caption, of every view from the rest."""
    return {split: split_retrieval(material, settings, split) for split in settings.splits}


def split_retrieval(material: Material, settings: Settings, split: str) -> dict:
    """The same of one split."""
    views, captions = material.views(split), material.captions(split)
    image, samples = views[0], views.shape[1]

    def row(found: Places, **names: str) -> dict:
        return {**names, "recall": recalls(found, settings), "median_rank": float(np.median(ranks(found)))}

    pairs = []
    for name, view in zip(material.names[1:], views[1:], strict=True):
        pairs.append(row(find(view, image), view=name, direction="text_to_image"))
        pairs.append(row(find(image, view), view=name, direction="image_to_text"))
    part = {
        "samples": samples,
        "captions": len(captions) // samples,
        "pairs": pairs,
        "any_caption": row(find(image, captions)),
    }
    rest = rest_places(settings.loss, views)
    part["rest"] = [row(found, view=name) for name, found in zip(material.names, rest, strict=True)]
    return part


def recalls(found: Places, settings: Settings) -> dict[str, dict[str, float]]:
    """Recall at every k with its interval."""
    rows = torch.stack([hits(found, k) for k in KS]).numpy()
    return dict(zip(map(str, KS), intervals(rows, settings.config.resamples, settings.seed), strict=True))


def zero_shot_part(material: Material, settings: Settings) -> dict | None:
    """Split -> accuracy of taking the class whose prompts are nearest to the image."""
    prompts = material.source.prompts
    if prompts is None:
        return None
    ends = np.cumsum([len(texts) for texts in prompts])[:-1].tolist()
    classes = class_features(material.text_features([text for texts in prompts for text in texts]).tensor_split(ends))
    parts = {split: split_zero_shot(material, settings, split, classes) for split in settings.splits}
    return {split: part for split, part in parts.items() if part is not None} or None


def split_zero_shot(material: Material, settings: Settings, split: str, classes: Tensor) -> dict | None:
    """The same of one split; None where none of its samples has a class."""
    labels = material.labels(split)
    if labels is None or not (labels >= 0).any():
        return None
    images, labels = material.views(split)[0][labels >= 0], labels[labels >= 0]
    tops = [k for k in (1, 5) if k == 1 or k < len(classes)]
    rows = torch.stack([zero_shot_hits(images, classes, labels, k) for k in tops]).numpy()
    found = intervals(rows, settings.config.resamples, settings.seed)
    figures = {f"top{k}": interval for k, interval in zip(tops, found, strict=True)}
    return {"classes": len(classes), "samples": len(labels), **figures, "majority": majority(labels)}


def probes_part(material: Material, settings: Settings) -> dict | None:
    """Logistic regression on the image's and on caption 1's features, fitted on train."""
    if material.source.class_names is None:
        return None
    fit, score = material.pairs("train", settings.config.probe_samples), material.pairs(settings.held_out)
    if fit.labels is None or score.labels is None:
        return None
    parts = {}
    for name in ("image", "text"):
        arrays: Sequence[NDArray] = [
            x.numpy() for x in (getattr(fit, name), fit.labels, getattr(score, name), score.labels)
        ]
        figures = probe(*arrays)
        if figures is not None:
            parts[name] = {"fitted_on": "train", "scored_on": settings.held_out, **figures}
    return parts or None


def geometry_part(material: Material, settings: Settings) -> dict:
    """Split -> alignment, uniformity, effective rank, modality gap."""
    return {split: geometry(material.views(split), material.names) for split in settings.splits}


def tokens_part(material: Material, settings: Settings) -> dict:
    """Of the text tower's token embedding, as far as the tokeniser has tokens."""
    embedding, tokenizer = material.encoder.towers.token_embedding, material.data.tokenizer
    count = min(len(tokenizer), len(embedding))
    return token_figures(embedding[:count].float().cpu(), token_names(tokenizer, count))


def cka_part(material: Material, settings: Settings) -> dict | None:
    """Similarity of every layer with every layer of the reference, for both towers; the matrices go to cka.npz."""
    split, most = settings.held_out, settings.config.cka_samples
    towers, (reference, what) = material.encoder.towers, settings.reference()
    end, image, text, samples, largest = material.encoder.tokens.end, MinibatchCKA(), MinibatchCKA(), 0, 0
    for batch in material.batches(split, most):
        if len(batch.images) < LEAST:
            continue
        tokens = batch.captions[:, 0]
        with material.context():
            image.add(image_grams(towers, batch.images), image_grams(reference, batch.images))
            text.add(text_grams(towers, tokens, end), text_grams(reference, tokens, end))
        samples, largest = samples + len(tokens), max(largest, len(tokens))
    if samples == 0:
        return None
    save_matrices(settings.folder / "cka.npz", image=image.result(), text=text.result())
    layers = {"image": list(image_layers(towers)), "text": list(text_layers(towers))}
    return {"reference": what, "samples": samples, "batch": largest, "layers": layers}


def save_matrices(path: Path, **matrices: Tensor) -> None:
    """Named matrices as float32 in an .npz file, written whole."""
    content = BytesIO()
    np.savez(content, **{name: matrix.float().cpu().numpy() for name, matrix in matrices.items()})
    write_whole(path, content.getvalue())


PARTS: dict[str, Callable[[Material, Settings], dict | None]] = {
    "retrieval": retrieval_part,
    "zero_shot": zero_shot_part,
    "probes": probes_part,
    "geometry": geometry_part,
    "tokens": tokens_part,
    "cka": cka_part,
}
