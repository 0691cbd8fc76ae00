"""Runs that can be loaded: with best.ckpt, with last.ckpt only, of an older version. Others are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from model import load
from model.data.source import SYMMETRIC
from model.data.squares import CLIP_PIXELS
from model.errors import ConfigError
from model.trained.settings import read_settings

OLD = Path(__file__).parents[1] / "golden" / "interrupted_b09aa08" / "norms_seed1_930345f618b8"
BEST = Path("checkpoints") / "best.ckpt"


@pytest.fixture
def copy(trained_run, tmp_path) -> Path:
    """A copy of the run's checkpoint and tokeniser."""
    for name in ("checkpoints", "tokenizer"):
        shutil.copytree(trained_run.folder / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def changed(folder: Path, change) -> None:
    """Writes best.ckpt again after `change` of its content."""
    content = torch.load(folder / BEST, weights_only=True)
    change(content)
    torch.save(content, folder / BEST)


def config_of(content: dict) -> dict:
    """The entry of a checkpoint that has the configuration."""
    return next(state for state in content["callbacks"].values() if "config" in state)


def test_a_folder_and_its_best_checkpoint_are_the_same_model(copy, trained):
    for run in (copy, str(copy), copy / BEST):
        assert torch.equal(load(run).encode_texts(["red"]), trained.encode_texts(["red"]))


def test_last_is_loaded_where_there_is_no_best(copy, caplog):
    (copy / BEST).unlink()
    assert load(copy).checkpoint.name == "last.ckpt"
    assert "has no best.ckpt" in caplog.text


def test_a_run_of_an_older_version_is_loaded(tmp_path):
    """Its configuration has no translator_norm; its model has six views."""
    shutil.copytree(OLD, tmp_path / "old")
    (tmp_path / "old" / "hydra").rename(tmp_path / "old" / ".hydra")
    model = load(tmp_path / "old")
    assert model.names[:2] == ("image", "caption_1")
    assert model.settings.backbone.translator_norm == "post"
    assert model.settings.normalization == SYMMETRIC
    rows = model.encode_texts(["a red circle", "a blue square"])
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(2))


def test_the_configuration_file_is_read_where_the_checkpoint_has_none(copy, trained):
    changed(copy, lambda content: config_of(content).pop("config"))
    with pytest.raises(ConfigError, match=r"stores no configuration, and .*config\.yaml cannot be read"):
        load(copy)
    (copy / ".hydra").mkdir()
    lines = ["loss: {name: normsv5, normalize: true, eps: 1.0e-8, function: null}", "data: {name: scenes}"]
    lines += [f"model: {dict(trained.settings.model)}", f"backbone: {vars(trained.settings.backbone)}"]
    text = "\n".join(lines).replace("None", "null").replace("True", "true")
    (copy / ".hydra" / "config.yaml").write_text(text)
    assert torch.equal(load(copy).encode_texts(["red"]), trained.encode_texts(["red"]))


def test_pixels_are_normalised_as_the_checkpoint_says(copy, trained_run, trained):
    changed(copy, lambda content: content["CaptionData"].update(normalization=CLIP_PIXELS))
    pictures = trained_run.pictures()[:2]
    mean, deviation = (torch.tensor(values)[:, None, None] for values in CLIP_PIXELS)
    pixels = (trained_run.source.images("test", range(2)).float() / 255 - mean) / deviation
    wanted = F.normalize(trained.encoder.image_features(pixels), dim=-1)
    torch.testing.assert_close(load(copy).encode_images(pictures), wanted, rtol=1e-5, atol=1e-6)


def test_an_older_checkpoint_is_normalised_as_its_source(copy):
    content = torch.load(copy / BEST, weights_only=True)
    del content["CaptionData"]["normalization"]
    values = config_of(content)["config"]["data"]
    for source, normalization in (("scenes", SYMMETRIC), ("emoji", SYMMETRIC), ("coco", CLIP_PIXELS)):
        values["name"] = source
        assert read_settings(content, copy / BEST).normalization == normalization
    values["name"] = "other"
    with pytest.raises(ConfigError, match=r"does not store how data\.name=other normalises pixels"):
        read_settings(content, copy / BEST)


def test_what_is_not_a_trained_run_is_refused(copy, tmp_path):
    with pytest.raises(ConfigError, match="nowhere does not exist; allowed: the folder of a run"):
        load(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"has neither checkpoints/best\.ckpt nor checkpoints/last\.ckpt"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="device=abacus cannot be used here"):
        load(copy, device="abacus")
    with pytest.raises(ConfigError, match="dtype=float16 is not known; allowed: float32, float64"):
        load(copy, dtype="float16")
    with pytest.raises(ConfigError, match=r"needs the tokeniser of its run"):
        load(shutil.copy(copy / BEST, tmp_path / "best.ckpt"))


def test_a_damaged_checkpoint_is_refused(copy):
    changed(copy, lambda content: content["state_dict"].pop("encoder.projection.matrix"))
    with pytest.raises(ConfigError, match=r"best\.ckpt is not a checkpoint .*projection\.matrix is missing in it"):
        load(copy)
    changed(copy, lambda content: config_of(content)["config"]["backbone"].pop("patch_size"))
    with pytest.raises(ConfigError, match=r"a configuration without backbone\.patch_size"):
        load(copy)
    (copy / BEST).write_bytes((copy / BEST).read_bytes()[:2000])
    with pytest.raises(ConfigError, match=r"best\.ckpt is not a checkpoint"):
        load(copy)
