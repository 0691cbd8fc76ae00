"""Labels of the samples of shards: from the texts of their files cls to positions in the class names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.coco import prompts_for
from model.data.shard_folder import CLASSES_FILE, Classes
from model.data.text import one_line
from model.errors import ConfigError

# What cls holds for a sample without a class.
NO_CLASS = ("", "-1")


class Labels(NamedTuple):
    """The classes, and for each part the class of each of its different contents of cls."""

    names: tuple[str, ...] | None
    prompts: tuple[tuple[str, ...], ...] | None
    classes_of: list[NDArray[np.int64] | None]
    """For each part, the class of each text, -1 for none. None if no sample of the part has a file cls."""


def resolve_labels(texts: Sequence[Sequence[str]], classes: Classes | None) -> Labels:
    """Returns the classes of all parts.

    texts: for each part, the different contents of cls, "" for samples without it; classes: the content of
    classes.json. With it, a text is the number or the name of a class. Without it, each different text is a class: in
    the order of the numbers if all are whole numbers, otherwise in the order of the alphabet. Raises ConfigError for a
    text that classes.json does not contain.
    """
    different = sorted({text for part in texts for text in part if text not in NO_CLASS})
    if not different and classes is None:
        return Labels(None, None, [labelled(part, {}) for part in texts])
    numbers = all(text.isascii() and text.isdigit() for text in different)
    if classes is not None:
        check_texts(different, classes.names)
        index = {name: number for number, name in reversed(list(enumerate(classes.names)))}
        index |= {str(number): number for number in range(len(classes.names))}
        index |= {text: int(text) for text in different if numbers}
        return Labels(classes.names, classes.prompts, [labelled(part, index) for part in texts])
    names = tuple(sorted(different, key=int) if numbers else different)
    prompts = None if numbers else tuple(map(prompts_for, names))
    index = {name: number for number, name in enumerate(names)}
    return Labels(names, prompts, [labelled(part, index) for part in texts])


def labelled(texts: Sequence[str], index: dict[str, int]) -> NDArray[np.int64] | None:
    """Returns the class of each text, -1 for none. None if no text is the content of a cls."""
    return np.array([index.get(text, -1) for text in texts], np.int64) if any(texts) else None


def check_texts(texts: Sequence[str], names: Sequence[str]) -> None:
    """Raises ConfigError for a text that is neither a name nor the number of one of `names`."""
    for text in texts:
        if text not in names and not (text.isascii() and text.isdigit() and int(text) < len(names)):
            raise ConfigError(
                f"a sample has the label {one_line(text)}, which {CLASSES_FILE} beside the shards does not list; "
                f"allowed: a name of this file, or 0 to {len(names) - 1}"
            )
