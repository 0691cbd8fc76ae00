"""A few captions and the pictures they find, to look at. Shapes: N samples, D features."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from model.analysis.material import Material
from model.record.files import write_whole
from model.record.summary import write_summary

# Pictures shown for a caption, and their sides in pixels.
HITS = 5
SIDE = 96


def write_examples(material: Material, split: str, folder: Path, queries: int, seed: int) -> None:
    """examples.json and the pictures that it names in `folder`: the caption 1 of `queries` samples of `split` that the
    seed draws, whatever came of them, each with the pictures that are most similar to it.
    """
    views = material.views(split)
    chosen = sorted(np.random.default_rng(seed).permutation(views.shape[1])[:queries].tolist())
    found = nearest(views[1][chosen], views[0])
    texts = material.source.texts(split, chosen)
    body = [
        {
            "caption": captions[0],
            "index": i,
            "hits": [{"index": j, "score": score, "match": j == i, "picture": f"{j}.png"} for j, score in hits],
        }
        for captions, i, hits in zip(texts, chosen, found, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for j in sorted({j for hits in found for j, _ in hits}):
        write_whole(folder / f"{j}.png", picture(material.source.images(split, [j])[0]))
    write_summary(folder / "examples.json", {"split": split, "view": material.names[1], "queries": body})


def nearest(queries: Tensor, images: Tensor) -> list[list[tuple[int, float]]]:
    """For each of (Q, D) queries the HITS most similar of (N, D) images, best first, each with its cosine."""
    scores = F.normalize(queries, dim=-1) @ F.normalize(images, dim=-1).T
    values, places = torch.nan_to_num(scores, nan=-1.0).topk(min(HITS, scores.shape[1]), dim=1)
    return [list(zip(row, score, strict=True)) for row, score in zip(places.tolist(), values.tolist(), strict=True)]


def picture(image: Tensor) -> bytes:
    """(3, H, W) uint8 -> a PNG, its longer side SIDE pixels."""
    drawn = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    scale = SIDE / max(drawn.size)
    content = BytesIO()
    drawn.resize([max(1, round(side * scale)) for side in drawn.size], Image.Resampling.LANCZOS).save(content, "PNG")
    return content.getvalue()
