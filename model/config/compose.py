"""Hydra's side of the configuration: schemas into its store, composed nodes out as a checked RunConfig."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from model.config.checks import check_run
from model.config.identity import job_hash_of, run_hash
from model.config.old_flags import flag_hint
from model.config.schema import SCHEMAS, RunConfig
from model.errors import ConfigError, not_known
from model.record.folder import CONFIG_NAME

INSTALLED = Path(__file__).resolve().parents[1] / "conf"
# The folder with the YAML files: inside the package where it was installed from a wheel, beside the package in a clone.
CONF = INSTALLED if INSTALLED.is_dir() else INSTALLED.parents[1] / "conf"
# How a user starts a run: the console script where the package was installed, train.py in a clone.
PROGRAM = ("nway-clip",) if CONF == INSTALLED else ("python", "train.py")


def register_schemas() -> None:
    """Puts the typed groups where the YAML files' defaults lists find them. Harmless when repeated."""
    store = ConfigStore.instance()
    store.store(name="_root", node=RunConfig)
    for group, nodes in SCHEMAS.items():
        for name, node in nodes.items():
            store.store(group=group, name=name, node=node)


def groups() -> dict[str, list[str]]:
    """Config group -> its choices, from conf/ (files that start with an underscore are no choices)."""
    folders = sorted(path for path in CONF.iterdir() if path.is_dir())
    return {folder.name: sorted(path.stem for path in folder.glob("[!_]*.yaml")) for folder in folders}


def known_keys() -> list[str]:
    """Every dotted key that some choice of conf/ has."""
    keys = {field.name for field in fields(RunConfig) if field.name not in SCHEMAS}
    for group, nodes in SCHEMAS.items():
        keys |= {f"{group}.{field.name}" for node in nodes.values() for field in fields(node)}
    return sorted(keys)


def composed_run(overrides: Sequence[str]) -> RunConfig:
    """The checked configuration that train.py would have with these arguments. Raises what Hydra raises for arguments
    that it cannot read.
    """
    register_schemas()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return from_hydra(compose(CONFIG_NAME, list(overrides)))


def from_hydra(composed: DictConfig) -> RunConfig:
    """The composed node as a RunConfig; raises ConfigError for keys that are not known, values that are missing or out
    of range.
    """
    for key, allowed in unknown_keys(composed):
        hint = flag_hint(key, str(OmegaConf.select(composed, key)))
        raise ConfigError(f"{key} is not a key here; allowed: {', '.join(allowed)}" + (f"\n{hint}" if hint else ""))
    removed = list(removed_keys(composed))
    if removed:
        raise ConfigError(f"{removed[0]} was removed, and is needed; allowed: {removed[0]}=<value>")
    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        raise ConfigError(f"{missing[0]}=??? has no value; allowed: a value for {', '.join(missing)}")
    config = OmegaConf.to_object(composed)
    for group, choices in groups().items():
        choice = getattr(getattr(config, group, None), "name", None)
        if choice is not None and choice not in choices:
            raise not_known(group, choice, choices)
    check_run(config)
    return config


def unknown_keys(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Keys that no dataclass field stands behind (Hydra lets `+key=value` add them), each with what is allowed beside
    it.
    """
    schema = OmegaConf.get_type(node)
    allowed = [field.name for field in fields(schema)] if is_dataclass(schema) else []
    for key in node:
        if allowed and key not in allowed:
            yield f"{prefix}{key}", allowed
        elif (
            not OmegaConf.is_missing(node, key)
            and isinstance(node._get_node(key), DictConfig)
            and not node._get_node(key)._is_none()
        ):
            yield from unknown_keys(node[key], f"{prefix}{key}.")


def removed_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys of the dataclasses that the node no longer has (`~key` takes them away)."""
    schema = OmegaConf.get_type(node)
    kept = list(node.keys())
    if is_dataclass(schema):
        yield from (f"{prefix}{field.name}" for field in fields(schema) if field.name not in kept)
    for key in kept:
        if (
            not OmegaConf.is_missing(node, key)
            and isinstance(node._get_node(key), DictConfig)
            and not node._get_node(key)._is_none()
        ):
            yield from removed_keys(node[key], f"{prefix}{key}.")


def as_dict(config: RunConfig) -> dict:
    """The configuration as plain nested dictionaries."""
    return asdict(config)


def config_hash(config: RunConfig) -> str:
    """12 hexadecimal digits that name the configuration; equal for runs that differ only in how they are continued."""
    return run_hash(as_dict(config))


def job_hash(*, _root_: DictConfig) -> str:
    """`${job_hash:}`, which names the folder of a sweep's job; reads the composed root with Hydra's own part, right or
    not.
    """
    own = OmegaConf.masked_copy(_root_, [key for key in _root_ if key != "hydra"])
    return job_hash_of(OmegaConf.to_container(own, resolve=True))
