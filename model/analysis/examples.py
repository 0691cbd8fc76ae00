"""Examples of retrieval for the report: a few captions and the images that they find. Shapes: Q queries, N samples, D
features.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from model.analysis.split_features import SplitFeatures
from model.record.files import write_whole
from model.record.summary import write_summary

# The number of images for each caption, and the length of their longer side in pixels.
HITS = 5
SIDE = 96


def write_examples(features: SplitFeatures, split: str, folder: Path, queries: int, seed: int) -> None:
    """Writes examples.json, and the image files that it names, into `folder`. The queries are caption 1 of `queries`
    samples of `split`, drawn with `seed` and not selected by their result. Each query has the images that are most
    similar to it.
    """
    views = features.views(split)
    chosen = sorted(np.random.default_rng(seed).permutation(views.shape[1])[:queries].tolist())
    hits_of_queries = nearest(views[1][chosen], views[0])
    texts = features.source.texts(split, chosen)
    body = [
        {
            "caption": captions[0],
            "index": i,
            "hits": [{"index": j, "score": score, "match": j == i, "picture": f"{j}.png"} for j, score in hits],
        }
        for captions, i, hits in zip(texts, chosen, hits_of_queries, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for j in sorted({j for hits in hits_of_queries for j, _ in hits}):
        write_whole(folder / f"{j}.png", png(features.source.images(split, [j])[0]))
    write_summary(folder / "examples.json", {"split": split, "view": features.names[1], "queries": body})


def nearest(queries: Tensor, images: Tensor) -> list[list[tuple[int, float]]]:
    """Returns, for each of (Q, D) queries, the HITS most similar of (N, D) images as (row, cosine), the most similar
    first.
    """
    scores = F.normalize(queries, dim=-1) @ F.normalize(images, dim=-1).T
    values, rows = torch.nan_to_num(scores, nan=-1.0).topk(min(HITS, scores.shape[1]), dim=1)
    return [list(zip(row, score, strict=True)) for row, score in zip(rows.tolist(), values.tolist(), strict=True)]


def png(image: Tensor) -> bytes:
    """Returns the content of a PNG file of a (3, H, W) uint8 image. The longer side of the file's image has SIDE
    pixels.
    """
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    scale = SIDE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    content = BytesIO()
    picture.resize((width, height), Image.Resampling.LANCZOS).save(content, "PNG")
    return content.getvalue()
