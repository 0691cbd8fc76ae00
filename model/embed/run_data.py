"""The data of a finished run, from the configuration in its checkpoint."""

from __future__ import annotations

from dataclasses import fields

from model.config.schema import SCHEMAS, DataConfig
from model.data import SOURCES, check_source, data_json, make_source
from model.data.source import Source, SourceOptions
from model.errors import ConfigError, one_of
from model.trained.trained_model import TrainedModel


def run_source(model: TrainedModel) -> Source:
    """Returns the source of the run, with the rows that the run had. Raises ConfigError if its files or packages
    are not there.
    """
    config = data_config(model)
    check_source(config)
    folder = model.checkpoint.parent.parent
    try:
        record = data_json.read(folder)
    except ValueError as error:
        raise ConfigError(
            f"{folder / data_json.FILE} is damaged ({error}), so the rows of a split are not known; allowed: --images"
        ) from error
    return make_source(config, SourceOptions(model.image_size, model.settings.seed, record))


def data_config(model: TrainedModel) -> DataConfig:
    """Returns the group `data` of the run's configuration. Raises ConfigError if this version has no such source."""
    values = model.settings.data
    one_of("data", values["name"], tuple(SOURCES))
    schemas = SCHEMAS["data"]
    schema = schemas.get(f"_schema_{values['name']}", schemas["_schema"])
    config: DataConfig = schema(**{field.name: values[field.name] for field in fields(schema) if field.name in values})
    return config
