"""The parts of analysis.json. Shapes: n views, N samples, K captions of a sample, D features, C classes.

How to add a part:

1. Write the measure as a function of arrays in a file of this folder, with a test on a case worked by hand.
2. Write `<name>_part` below. It takes an AnalysedRun and returns plain data for JSON, or None if the part has no
   meaning for these data. A part whose work needs no torch may start it in the side process, and return a function that
   waits for the data. Add the part to PARTS, whose order is that of analysis.json.
3. Add the switch `<name>: bool` to AnalysisConfig in model/config/schema.py, with its line in conf/analysis/_keys.yaml
   and `<name>: false` in conf/analysis/off.yaml, and decide in model/config/decisions.py whether a resumed run may
   change it. A value that the part reads needs a key in the same way, and a field of AnalysisSettings, which
   model/ending.py fills in.
4. Run `python -m model.config.document`, and add a row to the table in docs/analysis.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.analysis.bootstrap import intervals
from model.analysis.cka import LEAST, MinibatchCKA
from model.analysis.geometry import geometry
from model.analysis.layers import image_grams, image_layers, text_grams, text_layers
from model.analysis.probes import probe
from model.analysis.retrieval import MatchCounts, expected_ranks, hit_probability, rank_by_cosine
from model.analysis.split_features import SplitFeatures
from model.analysis.tokens import token_figures, token_names
from model.analysis.zero_shot import class_features, majority, zero_shot_hits
from model.losses.objective.loss import ContrastiveLoss
from model.metric_names import KS
from model.record.files import write_whole
from model.side_process import SideProcess
from model.views.towers import Towers

Figures = dict[str, Any]
LaterFigures = Callable[[], Figures | None]
"""The figures of a part that are computed in the side process: waits for them. Called after all other parts."""


@dataclass(frozen=True)
class AnalysisSettings:
    """The values of the configuration that the analysis reads. A field with the name of a key of conf/analysis has the
    value of that key.
    """

    parts: tuple[str, ...]
    """The names in PARTS that are switched on."""
    splits: tuple[str, ...]
    """The splits of `evaluate`, each once, in order; empty for no analysis."""
    seed: int
    """The seed of the bootstrap and of the examples."""
    folder: Path
    """The run's folder."""
    samples: int | None
    resamples: int
    probe_samples: int | None
    cka_samples: int | None
    examples: int

    @property
    def held_out(self) -> str:
        """The first evaluated split that is not train; val if there is none."""
        return next((split for split in self.splits if split != "train"), "val")


@dataclass(frozen=True)
class AnalysedRun:
    """What the parts read."""

    features: SplitFeatures
    loss: ContrastiveLoss
    """On the CPU."""
    reference: Callable[[], tuple[Towers, str]]
    """Builds the towers that cka compares with, and returns them with a description."""
    settings: AnalysisSettings
    side: SideProcess
    """Fits the probes while this process computes other parts."""


def retrieval_part(run: AnalysedRun) -> Figures:
    """Returns split -> recall and median rank between the image and each other view, of any caption, and of each view
    from the other views.
    """
    return {split: split_retrieval(run, split) for split in run.settings.splits}


def split_retrieval(run: AnalysedRun, split: str) -> Figures:
    """Returns the part `retrieval` of one split."""
    features, settings = run.features, run.settings
    views, captions = features.views(split), features.captions(split)
    image, samples = views[0], views.shape[1]

    names, counts = [], []
    for name, view in zip(features.names[1:], views[1:], strict=True):
        names += [{"view": name, "direction": "text_to_image"}, {"view": name, "direction": "image_to_text"}]
        counts += [rank_by_cosine(view, image), rank_by_cosine(image, view)]
    from_others = features.ranks(split, run.loss)
    recalls = recall_intervals([*counts, rank_by_cosine(image, captions), *from_others], settings)
    pairs, any_caption, rest = recalls[: len(names)], recalls[len(names)], recalls[len(names) + 1 :]
    return {
        "samples": samples,
        "captions": len(captions) // samples,
        "pairs": [{**name, **row} for name, row in zip(names, pairs, strict=True)],
        "any_caption": any_caption,
        "rest": [{"view": name, **row} for name, row in zip(features.names, rest, strict=True)],
    }


def recall_intervals(rankings: Sequence[MatchCounts], settings: AnalysisSettings) -> list[Figures]:
    """Returns, for each ranking of the same number of queries, `recall` (k -> the recall at k with its interval) and
    `median_rank`. All rankings use the same resamples.
    """
    rows = torch.stack([hit_probability(counts, k) for counts in rankings for k in KS]).numpy()
    recalls = iter(intervals(rows, settings.resamples, settings.seed))
    return [
        {
            "recall": {str(k): next(recalls) for k in KS},
            "median_rank": float(np.median(expected_ranks(counts))),
        }
        for counts in rankings
    ]


def zero_shot_part(run: AnalysedRun) -> Figures | None:
    """Returns split -> the accuracy of the class whose prompts are most similar to the image. None if the data have no
    class with prompts.
    """
    prompts = run.features.source.prompts
    if prompts is None:
        return None
    ends = np.cumsum([len(texts) for texts in prompts])[:-1].tolist()
    of_prompts = run.features.text_features([text for texts in prompts for text in texts])
    classes = class_features(of_prompts.tensor_split(ends))
    by_split = {split: split_zero_shot(run, split, classes) for split in run.settings.splits}
    return {split: figures for split, figures in by_split.items() if figures is not None} or None


def split_zero_shot(run: AnalysedRun, split: str, classes: Tensor) -> Figures | None:
    """Returns the part `zero_shot` of one split, for (C, D) features of classes. None if none of its samples has a
    class.
    """
    labels = run.features.labels(split)
    if labels is None or not (labels >= 0).any():
        return None
    images, labels = run.features.views(split)[0][labels >= 0], labels[labels >= 0]
    tops = [k for k in (1, 5) if k == 1 or k < len(classes)]
    rows = torch.stack([zero_shot_hits(images, classes, labels, k) for k in tops]).numpy()
    accuracies = intervals(rows, run.settings.resamples, run.settings.seed)
    figures = {f"top{k}": accuracy for k, accuracy in zip(tops, accuracies, strict=True)}
    return {"classes": len(classes), "samples": len(labels), **figures, "majority": majority(labels)}


def probes_part(run: AnalysedRun) -> LaterFigures | None:
    """Fits logistic regression on the features of the image, and on those of caption 1, of the training split, and
    scores it on a split that is held out. None if the data have no classes, or too few samples with a class.
    """
    if run.features.source.class_names is None:
        return None
    scored_on = run.settings.held_out
    fit, score = run.features.towers("train", run.settings.probe_samples), run.features.towers(scored_on)
    if fit.labels is None or score.labels is None:
        return None
    fit_labels, score_labels = fit.labels.numpy(), score.labels.numpy()
    features = {
        "image": (fit.image.numpy(), fit_labels, score.image.numpy(), score_labels),
        "text": (fit.text.numpy(), fit_labels, score.text.numpy(), score_labels),
    }
    # Before the pictures, which this process can draw without importing scikit-learn.
    probes = {name: run.side.start(probe, *arguments, before_others=True) for name, arguments in features.items()}

    def figures() -> Figures | None:
        accuracies = {name: accuracy() for name, accuracy in probes.items()}
        return {
            name: {"fitted_on": "train", "scored_on": scored_on, **accuracy}
            for name, accuracy in accuracies.items()
            if accuracy is not None
        } or None

    return figures


def geometry_part(run: AnalysedRun) -> Figures:
    """Returns split -> alignment, uniformity, effective rank and modality gap."""
    return {split: geometry(run.features.views(split), run.features.names) for split in run.settings.splits}


def tokens_part(run: AnalysedRun) -> Figures:
    """Returns figures of the text tower's token embedding, for the ids that the tokeniser uses."""
    embedding, tokenizer = run.features.encoder.towers.token_embedding, run.features.data.tokenizer
    count = min(len(tokenizer), len(embedding))
    return token_figures(embedding[:count].float().cpu(), token_names(tokenizer, count))


def cka_part(run: AnalysedRun) -> Figures | None:
    """Writes cka.npz: the similarity of every layer with every layer of the reference, for both towers. Returns what
    the matrices compare. None if no batch has LEAST samples.
    """
    features, settings = run.features, run.settings
    towers, (reference, description) = features.encoder.towers, run.reference()
    end, image, text = features.encoder.tokens.end, MinibatchCKA(), MinibatchCKA()
    samples, largest = 0, 0
    for batch in features.batches(settings.held_out, settings.cka_samples):
        if len(batch.images) < LEAST:
            continue
        tokens = batch.captions[:, 0]
        with features.precision():
            image.add(image_grams(towers, batch.images), image_grams(reference, batch.images))
            text.add(text_grams(towers, tokens, end), text_grams(reference, tokens, end))
        samples, largest = samples + len(tokens), max(largest, len(tokens))
    if samples == 0:
        return None
    save_matrices(settings.folder / "cka.npz", {"image": image.result(), "text": text.result()})
    layers = {"image": list(image_layers(towers)), "text": list(text_layers(towers))}
    return {"reference": description, "samples": samples, "batch": largest, "layers": layers}


def save_matrices(path: Path, matrices: dict[str, Tensor]) -> None:
    """Writes matrices as float32 into an .npz file, which replaces an older one as a whole."""
    arrays: dict[str, Any] = {name: matrix.float().cpu().numpy() for name, matrix in matrices.items()}
    content = BytesIO()
    np.savez(content, **arrays)
    write_whole(path, content.getvalue())


ALL_THREADS = ("geometry",)
"""The parts that come first, for which torch keeps all its threads: the last digit of a sum depends on their number."""
PARTS: dict[str, Callable[[AnalysedRun], Figures | LaterFigures | None]] = {
    "retrieval": retrieval_part,
    "zero_shot": zero_shot_part,
    "probes": probes_part,
    "geometry": geometry_part,
    "tokens": tokens_part,
    "cka": cka_part,
}
