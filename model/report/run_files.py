"""A run's folder -> the rows, figures and settings that its report is made of. Files only; what a run did not leave is
empty here.
"""

from __future__ import annotations

import json
import logging
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from model.errors import ConfigError
from model.record.folder import CONFIG_NAME, METRICS
from model.record.metrics_csv import read_rows
from model.report.sweep_jobs import REFERENCE

log = logging.getLogger(__name__)
Row = Mapping[str, float]
# A folder with one of these is a run's.
MARKS = ("summary.json", METRICS, "evaluation.json", ".hydra/config.yaml")


@dataclass(frozen=True)
class Run:
    """One run, as its folder tells it."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    """The composed configuration, references to other keys replaced by their values."""
    overrides: list[str] = field(default_factory=list)
    """What was typed after `train.py`; of a sweep's job, one value for each key."""
    hydra_overrides: list[str] = field(default_factory=list)
    """The same of `hydra.…` and `hydra/…`, as typed for the whole sweep."""
    config_options: list[str] = field(default_factory=list)
    """`--config-dir=…` and `--config-name=…`, where they were given."""
    summary: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    """Of the last `train=false` in this folder."""
    analysis: dict[str, Any] = field(default_factory=dict)
    halt: dict[str, Any] = field(default_factory=dict)
    metrics: list[Row] = field(default_factory=list)
    cka: dict[str, np.ndarray] = field(default_factory=dict)
    """`image`, `text`: (layers of the trained model, layers of the reference)."""
    examples: dict[str, Any] = field(default_factory=dict)

    def setting(self, key: str) -> Any:
        """The value of a dotted key of the configuration; None where it is not known."""
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value


def is_run(folder: Path) -> bool:
    """Whether `folder` is a run's."""
    return any((folder / mark).is_file() for mark in MARKS)


def read_run(folder: Path) -> Run:
    """Everything that `folder` holds. Raises ConfigError where it is no run's."""
    if not is_run(folder):
        raise ConfigError(f"{folder} is not a run's folder; allowed: a folder that holds one of {', '.join(MARKS)}")
    return Run(
        folder=folder,
        config=with_references(read_yaml(folder / ".hydra" / "config.yaml", {})),
        overrides=read_yaml(folder / ".hydra" / "overrides.yaml", []),
        hydra_overrides=read_overrides(folder / ".hydra" / "hydra.yaml", "hydra"),
        config_options=read_config_options(folder / ".hydra" / "hydra.yaml"),
        summary=read_json(folder / "summary.json"),
        evaluation=read_json(folder / "evaluation.json"),
        analysis=read_json(folder / "analysis.json"),
        halt=read_json(folder / "halt.json"),
        metrics=[{key: float(value) for key, value in row.items()} for row in read_rows(folder / METRICS)],
        cka=read_arrays(folder / "cka.npz"),
        examples=read_json(folder / "examples" / "examples.json"),
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is no file, or, with a warning, where it cannot be read."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        log.warning("%s is left out of the report: %s", path, error)
        return {}


def read_overrides(path: Path, part: str) -> list[str]:
    """What a command line said, for the `task` or for `hydra`, of a file with Hydra's own settings. They refer to what
    only a running Hydra knows.
    """
    settings = read_yaml(path, {})
    try:
        return settings["hydra"]["overrides"][part] or []
    except (KeyError, TypeError):
        return []


def read_config_options(path: Path) -> list[str]:
    """The options that named a further folder of configuration files, or another file than conf/train.yaml, of a file
    with Hydra's own settings.
    """
    settings = read_yaml(path, {})
    try:
        sources, name = settings["hydra"]["runtime"]["config_sources"], settings["hydra"]["job"]["config_name"]
    except (KeyError, TypeError):
        return []
    folders = [f"--config-dir={source['path']}" for source in sources if source["provider"] == "command-line"]
    return [*folders, *([f"--config-name={name}"] if name != CONFIG_NAME else [])]


def with_references(config: Any) -> dict[str, Any]:
    """The configuration with every `${other.key}` replaced by the value of that key; empty where `config` is not a
    dictionary.

    Resolvers such as `${oc.env:NAME}` are not run: a page made from somebody else's folder must not show the
    environment of its reader.
    """
    values = config if isinstance(config, dict) else {}

    def replaced(value: Any, depth: int = 0) -> Any:
        if isinstance(value, dict):
            return {key: replaced(inner) for key, inner in value.items()}
        found = REFERENCE.fullmatch(value) if isinstance(value, str) and depth < len(values) + 1 else None
        target: Any = values
        for part in found.group(1).split(".") if found else ():
            target = target.get(part) if isinstance(target, dict) else None
        return value if found is None or target is None else replaced(target, depth + 1)

    return {key: replaced(value) for key, value in values.items()}


def read_yaml(path: Path, default: Any) -> Any:
    """A file that Hydra wrote, as plain dictionaries and lists, references to other keys as they stand; `default` where
    there is none, or, with a warning, where it cannot be read.
    """
    if not path.is_file():
        return default
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        log.warning("%s is left out of the report: %s", path, error)
        return default


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; none where there is no file, or, with a warning, where it cannot be read."""
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        log.warning("%s is left out of the report: %s", path, error)
        return {}


def series(rows: Sequence[Row], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one column where it has a finite value."""
    points = [(row["step"], row[key]) for row in rows if math.isfinite(row.get(key, math.nan))]
    return [step for step, _ in points], [value for _, value in points]


def members(rows: Sequence[Row], prefix: str, suffix: str = "") -> list[str]:
    """What stands between `prefix` and `suffix` in the names of columns, in order of appearance."""
    keys = dict.fromkeys(key for row in rows for key in row if key.startswith(prefix) and key.endswith(suffix))
    return [key[len(prefix) : len(key) - len(suffix)] for key in keys]


def label(name: str) -> str:
    """A view's or split's name for people: `caption_1` is `caption 1`."""
    return name.replace("_", " ")
