"""The paths of the files of a COCO folder. Standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from model.errors import ConfigError

FOLDER = "a COCO folder, with annotations/ and the image folders"


class CocoPart(NamedTuple):
    """One of the two parts of a COCO folder, train or val."""

    root: Path
    name: str
    """The name in file and folder names, such as val2017."""

    def captions(self) -> Path:
        """Returns the path of the captions file, which must exist."""
        return self.root / "annotations" / f"captions_{self.name}.json"

    def instances(self) -> Path:
        """Returns the path of the instances file (the objects in the images), which may be missing."""
        return self.root / "annotations" / f"instances_{self.name}.json"

    def images(self) -> Path:
        """Returns the path of the folder of the images."""
        return self.root / self.name


def coco_parts(root: str | None, year: str) -> dict[str, CocoPart]:
    """Returns the parts "train" and "val" of the folder `root`. Raises ConfigError, which names the path, if a file or
    folder is missing.
    """
    if root is None:
        raise ConfigError(f"data.root=null names no folder; allowed: {FOLDER}")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"data.root={root} is not a folder; allowed: {FOLDER}")
    parts = {name: CocoPart(folder, f"{name}{year}") for name in ("train", "val")}
    for part in parts.values():
        if not part.captions().is_file():
            raise ConfigError(
                f"data.root={root} lacks the annotation file {part.captions()}; allowed: a COCO folder of {year}"
            )
        if not part.images().is_dir():
            raise ConfigError(
                f"data.root={root} lacks the image folder {part.images()}; allowed: a COCO folder of {year}"
            )
    return parts
