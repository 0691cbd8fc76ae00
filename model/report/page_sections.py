"""The order of a run's page: which pictures and tables stand together, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from model.record.summary import JOINT_MEANING, RECALL_MEANING
from model.report import page_parts as parts
from model.report.run_files import Run


def no_tables(run: Run) -> list[parts.Table]:
    """Of a section that has pictures only."""
    return []


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it."""

    title: str
    anchor: str
    note: str
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Name of a picture (or a pattern of names) -> alternative text."""
    tables: Callable[[Run], list[parts.Table]] = no_tables
    examples: bool = False

    def shown(self, names: Iterable[str]) -> dict[str, str]:
        """Those of the pictures that belong here, in this section's order -> alternative text."""
        names = list(names)
        found: dict[str, str] = {}
        for pattern, text in self.pictures.items():
            found |= {name: text for name in names if fnmatchcase(name, pattern) and name not in found}
        return found


SECTIONS = (
    Section(
        "Recall",
        "recall",
        f"{RECALL_MEANING} {JOINT_MEANING} Both depend on how many samples are ranked: compare equal sizes only.",
        {
            "recall": "Line chart of recall at 1, 5 and 10 at every validation during training.",
            "retrieval_*": "Dots with intervals, a row for every caption view and direction; the table below has the "
            "figures.",
        },
        parts.recall_tables,
    ),
    Section(
        "Retrieved examples",
        "examples",
        "Captions of evaluated samples and the five pictures closest to each, best first. The right picture has a "
        "green frame and a tick.",
        examples=True,
    ),
    Section(
        "Training",
        "training",
        "Loss over batches of the training size, the multiplier of the logits, and the rate of the optimizer.",
        {
            "loss": "Line chart of training and validation loss over optimizer steps.",
            "logit_scale": "Line chart of the multiplier of the logits over optimizer steps.",
            "learning_rate": "Line chart of the learning rate over optimizer steps.",
        },
    ),
    Section(
        "Classification",
        "classes",
        "How well classes can be told from the features, against always saying the most frequent class of the scored "
        "split.",
        tables=parts.class_tables,
    ),
    Section(
        "Features",
        "features",
        "How matching features lie (alignment: lower is closer), how evenly a view fills the sphere (uniformity: "
        "lower is more even), how many "
        "dimensions it uses (effective rank), how far captions lie from images (modality gap), and how it moves "
        "between validations.",
        {
            "alignment": "Line chart of the mean squared distance of matching features over validations.",
            "alignment_*": "Map of the mean squared distance of matching features for every two views.",
            "uniformity": "Line chart of every view's uniformity over validations.",
            "effective_rank": "Line chart of every view's effective rank over validations.",
            "modality_gap": "Line chart of the distance between the means of image and caption features over "
            "validations.",
            "drift_*": "Line chart over validations, a line for every view.",
        },
        parts.geometry_tables,
    ),
    Section(
        "Layers",
        "layers",
        "Centred kernel alignment (CKA) of every layer with every layer of the reference. 1: the same up to rotation "
        "and scale; where the diagonal "
        "stays near 1, training changed little.",
        {"cka_*": "Map of similarity, a row for each trained layer, a column for each layer of the reference."},
    ),
    Section(
        "Gradient health",
        "health",
        "Norms are of the unscaled, accumulated gradient of an optimizer step, before clipping.",
        {
            "gradient_norm": "Line chart of the gradient norm over optimizer steps with the norm above which is "
            "clipped.",
            "gradient_towers": "Line chart of the gradient norm of every part of the model over optimizer steps.",
            "gradient_views": "Line chart of the norm of the loss's gradient by view over optimizer steps.",
            "gradient_heatmap": "Map of the gradient norm, a row for each layer, a column for each recorded step.",
            "gradient_flow": "Bars of the gradient norm of every layer with the bounds of vanishing and exploding.",
            "activations": "Bars of the share of activations near zero of every layer.",
        },
    ),
    Section(
        "Tokens", "tokens", "Rows of the token embedding, and how they lie to their mean.", tables=parts.token_tables
    ),
)
