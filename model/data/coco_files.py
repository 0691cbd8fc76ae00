"""Where the files of a COCO folder are. Standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from model.errors import ConfigError


class Part(NamedTuple):
    """One of the two parts of a COCO folder, train or val."""

    root: Path
    name: str
    """The name in file and folder names, such as val2017."""

    def captions(self) -> Path:
        """The file of the captions, which is required."""
        return self.root / "annotations" / f"captions_{self.name}.json"

    def instances(self) -> Path:
        """The file of the objects in the images, which is optional."""
        return self.root / "annotations" / f"instances_{self.name}.json"

    def images(self) -> Path:
        """The folder of the images."""
        return self.root / self.name


def parts(root: str | None, year: str) -> dict[str, Part]:
    """ "train" and "val" of the folder `root`. Raises ConfigError, which names the path, where a file or folder is
    missing.
    """
    if root is None:
        raise ConfigError(
            "data.root=null names no folder; allowed: a COCO folder, with annotations/ and the image folders"
        )
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"data.root={root} is not a folder; allowed: a COCO folder, with annotations/ and the image folders"
        )
    found = {split: Part(folder, f"{split}{year}") for split in ("train", "val")}
    for part in found.values():
        if not part.captions().is_file():
            raise ConfigError(
                f"data.root={root} lacks the annotation file {part.captions()}; allowed: a COCO folder of {year}"
            )
        if not part.images().is_dir():
            raise ConfigError(
                f"data.root={root} lacks the image folder {part.images()}; allowed: a COCO folder of {year}"
            )
    return found
