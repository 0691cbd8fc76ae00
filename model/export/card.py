"""The model card of an exported model, README.md, from the settings and the summary of its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.record.summary import RECALL_MEANING, read_summary
from model.trained.trained_model import TrainedModel
from model.views.recipes import Kind, view_name

CARD = "README.md"
HEAD = """---
library_name: transformers
pipeline_tag: zero-shot-image-classification
tags:
- clip
---
"""
USE = """## Use

```python
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

model, processor = AutoModel.from_pretrained("<folder>"), AutoProcessor.from_pretrained("<folder>")
inputs = processor(
    images=[Image.open("picture.png")], text=["a text"], padding=True, truncation=True, return_tensors="pt"
)
with torch.no_grad():
    outputs = model(**inputs)
print(outputs.image_embeds @ outputs.text_embeds.T)
```

`image_embeds` and `text_embeds` have rows of length 1, and their products are cosines.
Texts need `padding=True`, and `truncation=True` truncates texts of more than {context} tokens, as in training.
`logits_per_image` are the cosines times the trained logit scale, {scale:.6g}.
{score}
Load the processor without torchvision, or with `backend="pil"`, because torchvision scales pictures in another way.
Pictures become squares of {size} x {size} pixels, as in the run, with these differences:

- The longer side of a picture that is not square can be one pixel shorter before its middle is cropped.
- A picture is not turned as its EXIF tag says.
- Transparent parts do not become white, and pixels of 16 bits are not scaled.
- Large JPEGs are decoded at their full size.
"""
SCORES = {
    True: "The loss of the run, `{loss}`, scores pairs of rows, as these logits do.",
    False: "The loss of the run, `{loss}`, scores all {count} views of a sample at once, so these logits are not its "
    "scores.",
}
WHY = {
    Kind.CAPTION: "the text tower computes it, so the text features of that caption are this view",
    Kind.TRANSLATED: "a CLIPModel has no encoder-decoder, which translates the caption into token embeddings",
    Kind.DECODED: "a CLIPModel has no encoder-decoder, whose decoder states this view is computed from",
    Kind.ENCODED: "a CLIPModel has no encoder-decoder, of whose encoder this view is a state",
}


def model_card(trained: TrainedModel, dtype: str) -> str:
    """Returns the text of the card. It states no licence, which the author of the model chooses."""
    settings = trained.settings
    summary = read_summary(trained.checkpoint.parent.parent)
    loss = settings.loss["name"]
    score = SCORES[len(trained.names) == 2].format(loss=loss, count=len(trained.names))
    parts = [
        HEAD,
        f"# CLIP model of the run {escaped(trained.checkpoint.absolute().parents[1].name)}\n",
        f"The image tower and the text tower of a model that nway-clip trained with `loss={loss}` and "
        f"`model={settings.model['name']}` on `data={settings.data['name']}`.\n"
        f"Weights: `{trained.checkpoint.name}`, stored as {dtype}.\n",
        USE.format(context=trained.context_length, scale=trained.logit_scale, score=score, size=trained.image_size),
        view_section(trained),
        "## Training\n\n" + table(("setting", "value"), facts(trained, summary)),
        figures(summary),
        "## Licence\n\nNo licence is stated.\nThe author of the model chooses one and adds `license:` to the head of "
        "this file.\n",
    ]
    return "\n".join(parts)


def view_section(trained: TrainedModel) -> str:
    """Returns the section about views: those in the folder, and why others are not there."""
    further = [view for view in trained.encoder.plan.views if view_name(view) != "caption_1"]
    lines = ["- `image`: the image features", "- `caption_1`: the text features"]
    lines += [f"- `{view_name(view)}` is not a feature of its own: {WHY[view.kind]}" for view in further]
    return "## Views\n\n" + "\n".join(f"{line}." for line in lines) + "\n"


def facts(trained: TrainedModel, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the names and values of the settings that the card shows."""
    settings = trained.settings
    samples = summary.get("samples", {})
    versions = summary.get("versions", {})
    values = {
        "loss": settings.loss["name"],
        "views": ", ".join(trained.names),
        "model.projection": settings.model["projection"],
        "backbone": settings.backbone.name,
        "pretrained weights at the start": public_name(settings.backbone.pretrained),
        "data": settings.data["name"],
        "samples": ", ".join(f"{count:,} {split}" for split, count in samples.items()),
        "batch size": summary.get("batch_size"),
        "optimizer steps": summary.get("steps", {}).get("applied"),
        "precision": summary.get("precision"),
        "configuration hash": summary.get("config_hash"),
        "versions": ", ".join(f"{package} {number}" for package, number in versions.items()),
    }
    return [(name, str(value)) for name, value in values.items() if value not in (None, "")]


def public_name(source: str | None) -> str | None:
    """Returns the hub id of pretrained weights, or the name of their folder without its place on this machine."""
    return source and (source if not Path(source).is_absolute() else Path(source).name)


def figures(summary: Mapping[str, Any]) -> str:
    """Returns the section with the figures of the run's splits."""
    metrics = {
        name: value
        for name, value in summary.get("metrics", {}).items()
        if isinstance(value, float) and name.partition("/")[0] not in ("train", "grad")
    }
    if not metrics:
        return "## Figures\n\nThe run has no summary with figures.\n"
    which = f"They are those of the checkpoint `{summary['evaluated']}.ckpt`.\n" if summary.get("evaluated") else ""
    note = (
        f"The run itself has measured these figures, with all its views.\n{which}{RECALL_MEANING}\n"
        f"The figures `joint_recall@k`, `swap_acc` and `loss` are computed with all views and the trained score.\n\n"
    )
    rows = [(f"`{name}`", f"{metrics[name]:.4g}") for name in sorted(metrics, key=in_natural_order)]
    return f"## Figures\n\n{note}{table(('figure', 'value'), rows)}"


def in_natural_order(name: str) -> tuple[str, int]:
    """Returns the key by which names of figures are sorted: recall@5 before recall@10."""
    figure, _, k = name.partition("@")
    return figure, int(k) if k.isdecimal() else 0


def table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    """Returns a table of two columns in Markdown."""
    lines = [head, ("---", "---"), *((escaped(name), escaped(value)) for name, value in rows)]
    return "\n".join(f"| {name} | {value} |" for name, value in lines) + "\n"


def escaped(text: str) -> str:
    """Returns a text for one cell of a table in Markdown."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
