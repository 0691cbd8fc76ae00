"""Composition by Hydra: registers the schemas in Hydra's store, and turns a composed node into a checked RunConfig."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from model.config.checks import check_run
from model.config.identity import job_hash_of, run_hash
from model.config.old_flags import flag_hint
from model.config.own_function import source_digest
from model.config.schema import SCHEMAS, LossConfig, RunConfig
from model.errors import ConfigError, not_known, require
from model.record.folder import CONFIG_NAME

INSTALLED = Path(__file__).resolve().parents[1] / "conf"
# The folder with the YAML files: inside the package if it was installed from a wheel, next to the package in a clone.
CONF = INSTALLED if INSTALLED.is_dir() else INSTALLED.parents[1] / "conf"
# How a user starts a run: the console script if the package was installed, train.py in a clone.
PROGRAM = ("nway-clip",) if CONF == INSTALLED else ("python", "train.py")


def register_schemas() -> None:
    """Registers the typed groups under the names that the defaults lists of the YAML files use. May be called again."""
    store = ConfigStore.instance()
    store.store(name="_root", node=RunConfig)
    for group, nodes in SCHEMAS.items():
        for name, node in nodes.items():
            store.store(group=group, name=name, node=open_dictionaries(OmegaConf.structured(node)))


def open_dictionaries(node: DictConfig) -> DictConfig:
    """Lets overrides add keys to the dictionaries of a schema, as in optimizer.lr_scale={image: 0.1}; Hydra refuses
    keys that a node does not have.
    """
    for key in node:
        child = child_node(node, str(key))
        if child is not None and not schema_keys(child):
            OmegaConf.set_struct(child, False)
    return node


def groups() -> dict[str, list[str]]:
    """Returns group -> its choices, from conf/. A group within another one is group/group. Files that start with an
    underscore are not choices.
    """
    folders = sorted(path for path in CONF.rglob("*") if path.is_dir())
    return {
        folder.relative_to(CONF).as_posix(): sorted(path.stem for path in folder.glob("[!_]*.yaml"))
        for folder in folders
    }


def loss_family(name: str) -> str:
    """Returns the family of `loss=<name>`, which conf/loss/<name>.yaml states."""
    line = re.search(r"^family: *(\w+)", (CONF / "loss" / f"{name}.yaml").read_text(encoding="utf-8"), flags=re.M)
    if line is None:
        raise ConfigError(f"conf/loss/{name}.yaml states no family; allowed: a line `family: <family>`")
    return line.group(1)


def completed(loss: LossConfig) -> LossConfig:
    """Returns the loss with the keys that follow from others: its family, and the digest of the file of its function.

    Raises ConfigError if one of these keys was set to another value.
    """
    family, digest = loss_family(loss.name), source_digest(loss.function)
    function = "null" if loss.function is None else loss.function
    derived = (("family", family, f"loss={loss.name}"), ("function_digest", digest, f"loss.function={function}"))
    for key, value, owner in derived:
        chosen, allowed = getattr(loss, key), "null" if value is None else f"null or {value}"
        require(chosen in (None, value), f"loss.{key}", chosen, f"does not belong to {owner}", allowed)
    return replace(loss, family=family, function_digest=digest)


def known_keys() -> list[str]:
    """Returns every dotted key that at least one choice of conf/ has."""
    keys = {field.name for field in fields(RunConfig) if field.name not in SCHEMAS}
    for group, nodes in SCHEMAS.items():
        names = {field.name for node in nodes.values() for field in fields(node)}
        keys |= {f"{group}.{name}".replace("/", ".") for name in names if f"{group}/{name}" not in SCHEMAS}
    return sorted(keys)


def composed_run(overrides: Sequence[str]) -> RunConfig:
    """Returns the checked configuration of train.py with these arguments. Raises ConfigError, and Hydra's errors for
    arguments that Hydra cannot read.
    """
    register_schemas()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return from_hydra(compose(CONFIG_NAME, list(overrides)))


def from_hydra(composed: DictConfig) -> RunConfig:
    """Returns the composed node as a RunConfig. Raises ConfigError for unknown keys and for values that are missing or
    out of range.
    """
    for key, allowed in unknown_keys(composed):
        hint = flag_hint(key, str(OmegaConf.select(composed, key)))
        raise ConfigError(f"{key} is not a known key; allowed: {', '.join(allowed)}" + (f"\n{hint}" if hint else ""))
    removed = list(removed_keys(composed))
    if removed:
        raise ConfigError(f"{removed[0]} was removed but is required; allowed: {removed[0]}=<value>")
    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        raise ConfigError(f"{missing[0]}=??? has no value; allowed: a value for {', '.join(missing)}")
    config = OmegaConf.to_object(composed)
    assert isinstance(config, RunConfig)  # the root of the composition is typed, see `register_schemas`
    for group, choices in groups().items():
        choice = getattr(getattr(config, group, None), "name", None)
        if choice is not None and choice not in choices:
            raise not_known(group, choice, choices)
    config.loss = completed(config.loss)
    check_run(config)
    return config


def unknown_keys(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yields the keys that have no dataclass field (Hydra lets `+key=value` add them), each with the keys that are
    allowed.
    """
    allowed = schema_keys(node)
    for key in map(str, node):
        if allowed and key not in allowed:
            yield f"{prefix}{key}", allowed
        elif (child := child_node(node, key)) is not None:
            yield from unknown_keys(child, f"{prefix}{key}.")


def removed_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yields the keys of the dataclasses that the node does not have (`~key` removes them)."""
    present = list(map(str, node))
    yield from (f"{prefix}{name}" for name in schema_keys(node) if name not in present)
    for key in present:
        if (child := child_node(node, key)) is not None:
            yield from removed_keys(child, f"{prefix}{key}.")


def schema_keys(node: DictConfig) -> list[str]:
    """Returns the fields of the dataclass that types the node; empty if it is not typed."""
    schema = OmegaConf.get_type(node)
    return [field.name for field in fields(schema)] if is_dataclass(schema) else []


def child_node(node: DictConfig, key: str) -> DictConfig | None:
    """Returns the dictionary at `key`; None if the value is missing, null or of another type."""
    child = None if OmegaConf.is_missing(node, key) else node._get_node(key)
    return child if isinstance(child, DictConfig) and not child._is_none() else None


def as_dict(config: RunConfig) -> dict[str, Any]:
    """Returns the configuration as plain nested dictionaries."""
    return asdict(config)


def config_hash(config: RunConfig) -> str:
    """Returns 12 hexadecimal digits that identify the configuration; see `run_hash`."""
    return run_hash(as_dict(config))


def job_hash(*, _root_: DictConfig) -> str:
    """Resolves `${job_hash:}`, which is part of the name of a job's folder.

    _root_: the composed configuration with Hydra's own settings; its values are not yet checked.
    """
    own = OmegaConf.masked_copy(_root_, [str(key) for key in _root_ if key != "hydra"])
    values = OmegaConf.to_container(own, resolve=True)
    assert isinstance(values, dict)  # the container of a DictConfig
    if isinstance(values.get("loss"), dict):
        values["loss"]["function_digest"] = source_digest(values["loss"].get("function"))
    return job_hash_of({str(key): value for key, value in values.items()})
