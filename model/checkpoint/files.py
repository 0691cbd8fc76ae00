"""Where a run's checkpoints lie, and how they are found by the user's words."""

from __future__ import annotations

from pathlib import Path

from model.errors import ConfigError

LAST = "last"
BEST = "best"


def checkpoint_path(folder: Path, name: str) -> Path:
    """`name`: LAST or BEST, of the run in `folder`."""
    return folder / "checkpoints" / f"{name}.ckpt"


def find_checkpoint(folder: Path, asked: str) -> Path:
    """`asked`: `last` or `best` (of the run in `folder`) or a file. Raises ConfigError where there is none."""
    path = checkpoint_path(folder, asked) if asked in (LAST, BEST) else Path(asked)
    if not path.is_file():
        where = f" in {path.parent}" if asked in (LAST, BEST) else ""
        raise ConfigError(f"ckpt_path={asked} is not there{where}; allowed: a file, or last or best with hydra.run.dir=<folder of the run>")
    return path
