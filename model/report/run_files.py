"""Reads the files of a run's folder from which its report is made. A file that does not exist gives an empty value."""

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

from model.config.nested import value_at
from model.errors import ConfigError
from model.record.folder import CONFIG_NAME, METRICS
from model.record.metrics_csv import read_rows
from model.record.summary import EVALUATION, SUMMARY
from model.report.sweep_jobs import REFERENCE

log = logging.getLogger(__name__)
MetricsRow = Mapping[str, float]
"""A row of metrics.csv: column -> number."""
# A folder that has one of these files is a run's.
MARKS = (SUMMARY, METRICS, EVALUATION, ".hydra/config.yaml")


@dataclass(frozen=True)
class Run:
    """The files of a run."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    """The composed configuration, with references to other keys resolved."""
    overrides: list[str] = field(default_factory=list)
    """The overrides of the command line; a job of a sweep has one value for each key."""
    hydra_overrides: list[str] = field(default_factory=list)
    """The overrides of `hydra.…` and `hydra/…`, as typed for the sweep."""
    config_options: list[str] = field(default_factory=list)
    """The options `--config-dir=…` and `--config-name=…`, if they were given."""
    summary: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    """The summary of the last command with `train=false` in this folder."""
    analysis: dict[str, Any] = field(default_factory=dict)
    halt: dict[str, Any] = field(default_factory=dict)
    metrics: list[MetricsRow] = field(default_factory=list)
    cka: dict[str, np.ndarray] = field(default_factory=dict)
    """`image` and `text` -> array (layers of the trained model, layers of the reference)."""
    examples: dict[str, Any] = field(default_factory=dict)

    def setting(self, key: str) -> Any:
        """Returns the value of a dotted key of the configuration; None if it is not known."""
        return value_at(self.config, key.split("."))


def is_run(folder: Path) -> bool:
    """Whether `folder` is a run's."""
    return any((folder / mark).is_file() for mark in MARKS)


def read_run(folder: Path) -> Run:
    """Reads all files of the run in `folder`. Raises ConfigError if the folder is not a run's."""
    if not is_run(folder):
        raise ConfigError(f"{folder} is not a run's folder; allowed: a folder that holds one of {', '.join(MARKS)}")
    return Run(
        folder=folder,
        config=with_references(read_yaml(folder / ".hydra" / "config.yaml", {})),
        overrides=read_yaml(folder / ".hydra" / "overrides.yaml", []),
        hydra_overrides=read_overrides(folder / ".hydra" / "hydra.yaml", "hydra"),
        config_options=read_config_options(folder / ".hydra" / "hydra.yaml"),
        summary=read_json(folder / SUMMARY),
        evaluation=read_json(folder / EVALUATION),
        analysis=read_json(folder / "analysis.json"),
        halt=read_json(folder / "halt.json"),
        metrics=[{key: float(value) for key, value in row.items()} for row in read_rows(folder / METRICS)],
        cka=read_arrays(folder / "cka.npz"),
        examples=read_json(folder / "examples" / "examples.json"),
    )


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; empty if there is no file, and, with a warning, if it cannot be read."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        log.warning("%s is left out of the report: %s", path, error)
        return {}


def read_overrides(path: Path, part: str) -> list[str]:
    """Returns the overrides of a command line from a file with Hydra's settings. part: `task` or `hydra`.

    The file is not resolved, because its references can be resolved only while Hydra runs.
    """
    settings = read_yaml(path, {})
    try:
        return settings["hydra"]["overrides"][part] or []
    except (KeyError, TypeError):
        return []


def read_config_options(path: Path) -> list[str]:
    """Returns the options --config-dir and --config-name of a command line from a file with Hydra's settings."""
    settings = read_yaml(path, {})
    try:
        sources, name = settings["hydra"]["runtime"]["config_sources"], settings["hydra"]["job"]["config_name"]
    except (KeyError, TypeError):
        return []
    folders = [f"--config-dir={source['path']}" for source in sources if source["provider"] == "command-line"]
    return [*folders, *([f"--config-name={name}"] if name != CONFIG_NAME else [])]


def with_references(config: Any) -> dict[str, Any]:
    """Replaces every `${other.key}` in the configuration by the value of that key. Returns an empty dictionary if
    `config` is not a dictionary.

    Resolvers such as `${oc.env:NAME}` are not run: a page made from another user's folder must not show environment
    variables of the reader.
    """
    values = config if isinstance(config, dict) else {}

    def replaced(value: Any, depth: int = 0) -> Any:
        if isinstance(value, dict):
            return {key: replaced(inner) for key, inner in value.items()}
        reference = REFERENCE.fullmatch(value) if isinstance(value, str) and depth < len(values) + 1 else None
        target = value_at(values, reference.group(1).split(".")) if reference else None
        return value if target is None else replaced(target, depth + 1)

    return {key: replaced(value) for key, value in values.items()}


def read_yaml(path: Path, default: Any) -> Any:
    """Returns a YAML file of Hydra as plain dictionaries and lists, without resolving references. Returns `default` if
    there is no file, and, with a warning, if it cannot be read.
    """
    if not path.is_file():
        return default
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        log.warning("%s is left out of the report: %s", path, error)
        return default


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file; none if there is no file, and, with a warning, if it cannot be read."""
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        log.warning("%s is left out of the report: %s", path, error)
        return {}


def series(rows: Sequence[MetricsRow], key: str) -> tuple[list[float], list[float]]:
    """Returns the steps and the values of the rows in which the column has a finite value."""
    points = [(row["step"], row[key]) for row in rows if math.isfinite(row.get(key, math.nan))]
    return [step for step, _ in points], [value for _, value in points]


def column_parts(rows: Sequence[MetricsRow], prefix: str, suffix: str = "") -> list[str]:
    """Returns the texts between `prefix` and `suffix` in the names of columns, in order of appearance."""
    keys = dict.fromkeys(key for row in rows for key in row if key.startswith(prefix) and key.endswith(suffix))
    return [key[len(prefix) : len(key) - len(suffix)] for key in keys]


def label(name: str) -> str:
    """Returns a view's or a split's name for people: `caption 1` for `caption_1`."""
    return name.replace("_", " ")
