"""The sections of a run's page in their order: the pictures and tables of each, and the text that explains them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from model.record.summary import JOINT_MEANING, RECALL_MEANING
from model.report.page_tables import Table, class_tables, geometry_tables, recall_tables, token_tables
from model.report.run_files import Run


def no_tables(run: Run) -> list[Table]:
    """Returns no table, for a section that has only pictures."""
    return []


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    title: str
    anchor: str
    """The id of the section in HTML."""
    note: str
    """The explanation below the title."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Name of a picture, or a pattern of names -> alternative text."""
    tables: Callable[[Run], list[Table]] = no_tables
    examples: bool = False
    """Whether the section shows the retrieved examples."""

    def select(self, names: Iterable[str]) -> dict[str, str]:
        """Returns the pictures that belong to this section, in its order: name -> alternative text."""
        names = list(names)
        selected: dict[str, str] = {}
        for pattern, text in self.pictures.items():
            selected |= {name: text for name in names if fnmatchcase(name, pattern) and name not in selected}
        return selected


SECTIONS = (
    Section(
        "Recall",
        "recall",
        f"{RECALL_MEANING} {JOINT_MEANING} Both depend on the number of ranked samples: compare only splits of equal "
        "size.",
        {
            "recall": "Line chart of recall at 1, 5 and 10 at every validation during training.",
            "retrieval_*": "Recall with intervals, one row for each caption view and direction. The table has the "
            "figures.",
        },
        recall_tables,
    ),
    Section(
        "Retrieved examples",
        "examples",
        "For some captions, the five pictures whose features are most similar, best first. The number is the cosine "
        "similarity of picture and caption. The matching picture has a green frame and a tick.",
        examples=True,
    ),
    Section(
        "Training",
        "training",
        "The loss over batches of the training size, the scale of the logits and the learning rate.",
        {
            "loss": "Line chart of training and validation loss over optimizer steps.",
            "logit_scale": "Line chart of the scale of the logits over optimizer steps.",
            "learning_rate": "Line chart of the learning rate over optimizer steps.",
        },
    ),
    Section(
        "Classification",
        "classes",
        "How well the features separate classes. The column 'most frequent' has the accuracy of always answering with "
        "one class: in the zero-shot table the most frequent class of the split, and in the table of probes the most "
        "frequent class of the samples on which the probe was fitted.",
        tables=class_tables,
    ),
    Section(
        "Features",
        "features",
        "Alignment is the mean squared distance of matching features (lower is closer). Uniformity measures how evenly "
        "the features of a view cover the sphere (lower is more even). The effective rank is the number of dimensions "
        "that a view uses. The modality gap is the distance between the mean of a caption view and the mean of the "
        "images. Drift compares the features of a validation with those of the previous validation.",
        {
            "alignment": "Line chart of the mean squared distance of matching features over validations.",
            "alignment_*": "Map of the mean squared distance of matching features for every pair of views.",
            "uniformity": "Line chart of every view's uniformity over validations.",
            "effective_rank": "Line chart of every view's effective rank over validations.",
            "modality_gap": "Line chart of the distance between the means of image and caption features over "
            "validations.",
            "drift_*": "Line chart over validations, one line for each view.",
        },
        geometry_tables,
    ),
    Section(
        "Layers",
        "layers",
        "Centred kernel alignment (CKA) of every layer with every layer of the reference. 1 means equal up to rotation "
        "and scale. If the diagonal stays near 1, training changed little.",
        {"cka_*": "Map of the similarity, one row for each trained layer, one column for each layer of the reference."},
    ),
    Section(
        "Gradient health",
        "health",
        "The norm of the accumulated, unscaled gradient of an optimizer step, before clipping.",
        {
            "gradient_norm": "Line chart of the gradient norm over optimizer steps, with the norm above which steps "
            "are clipped.",
            "gradient_towers": "Line chart of the gradient norm of every tower over optimizer steps.",
            "gradient_views": "Line chart of the norm of the gradient with respect to each view over optimizer steps.",
            "gradient_heatmap": "Map of the gradient norm, one row for each layer, one column for each recorded step.",
            "gradient_flow": "Bars of the gradient norm of every layer, with the bounds of vanishing and exploding "
            "gradients.",
            "activations": "Bars of the share of activations near zero of every layer.",
        },
    ),
    Section(
        "Tokens",
        "tokens",
        "The vectors of the token embedding: their norms, and their cosines to the mean vector.",
        tables=token_tables,
    ),
)
