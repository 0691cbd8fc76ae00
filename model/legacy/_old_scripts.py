"""The old training scripts: which flags each took, and which settings it trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from model.config.old_flags import ENHANCED_FLAGS, OLD_FLAGS
from model.errors import not_known

# The old defaults of the flags whose default may differ from today's.
OLD_DEFAULTS = {
    "logitsversion": "0", "normlogits": "True", "projection": "inv", "maskLosses": "0", "meanloss": "False",
    "exactlabels": "0", "batch_size": "64",
}  # fmt: skip
# Today's defaults of the keys that these flags set.
TODAY = {
    "loss": "normsv5",
    "loss.normalize": "true",
    "loss.mask": "none",
    "loss.axes": "all",
    "loss.targets": "diagonal",
    "model.projection": "none",
}
# The settings of both experiments, key by key.
SETTINGS = {
    "backbone": "vit_b_32", "data": "coco", "schedule": "plateau", "monitor": "watch", "monitor.clip": "0.25",
    "backbone.translator_norm": "post", "backbone.translator_init": "marian", "loss.reduction": "sum",
    "loss.scale_cap": "null",
    "optimizer.lr": "1e-4", "optimizer.eps": "1e-7", "trainer.precision": "16-mixed",
    "trainer.accumulate_grad_batches": "16",
    "trainer.early_stopping_patience": "10", "trainer.max_epochs": "100",
}  # fmt: skip
# The same settings without those of the encoder-decoder and of the loss, for the script that had neither.
BASELINE = {key: value for key, value in SETTINGS.items() if not key.startswith(("backbone.translator", "loss."))}
NO_CHOICE = "this script always contrasted every two of its views, loss=pairwise"
NO_TRANSLATOR = "this script had no encoder-decoder"


@dataclass(frozen=True)
class Script:
    """An old training script."""

    name: str
    settings: Mapping[str, str]
    """Its settings, by today's keys."""
    views: int
    experiment: str = ""
    """The choice of `experiment` that has these settings; empty if there is none."""
    own: Mapping[str, str] = field(default_factory=dict)
    """Settings that the experiment does not have."""
    decoded: bool = False
    """Whether its views were decoded captions."""
    stable: bool = False
    """Whether it took the flags of the stable losses and of the gradient checks."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Flags that it accepted and ignored, with the reason."""
    defaults: Mapping[str, str] = field(default_factory=lambda: TODAY)
    """Today's defaults of keys that neither the settings nor the flags set."""

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that it took."""
        return (*OLD_FLAGS, *(ENHANCED_FLAGS if self.stable else ()))


# The optimizer, schedule and clipping of example_enhanced_training.
ENHANCED = {"monitor.clip": "1.0", "optimizer.eps": "1e-8", "optimizer.weight_decay": "0.01", "schedule.patience": "5"}
TRANSLATED = SETTINGS | {"model": "v5335dim", "data.batch_size": "4"}
UNREAD = dict.fromkeys(("logitsversion", "normlogits", "exactlabels", "maskLosses", "meanloss"), NO_CHOICE) | {
    "gumbel": NO_TRANSLATOR
}
SCRIPTS = {
    script.name: script
    for script in (
        Script(
            "trainclip_v534DIM",
            SETTINGS | {"model": "v534dim", "data.batch_size": "6"},
            views=6,
            experiment="original_v534dim",
            decoded=True,
        ),
        Script("trainclip_v5335DIM", TRANSLATED, views=4, experiment="original_v5335dim"),
        Script(
            "trainclip_v53_baseline",
            BASELINE | {"model": "clip", "model.captions": "5", "loss": "pairwise"},
            views=6,
            unread=UNREAD,
            defaults=TODAY | {"model.projection": "identity"},
        ),
        Script(
            "example_enhanced_training", TRANSLATED, views=4, experiment="original_v5335dim", own=ENHANCED, stable=True
        ),
    )
}
DEFAULT = "trainclip_v534DIM"


def find_script(word: str) -> Script:
    """Finds a script by its name, with or without a path, `.py` and `model.`, or by a part of the name that no other
    script has, such as v534. Raises ConfigError for another word.
    """
    name = PurePath(word).name.removesuffix(".py").rpartition(".")[2].lower()
    matching = [script for script in SCRIPTS.values() if name in script.name.lower()]
    if len(matching) != 1:
        raise not_known("script", word, tuple(SCRIPTS))
    return matching[0]
