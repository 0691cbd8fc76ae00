"""An exported model gives the features of its run, in a process that has transformers and not this project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedTokenizerFast

from model import load
from model.data.text import clean, has_lone_surrogate
from model.data.tokenizer import encode
from model.errors import ConfigError
from model.export.__main__ import main
from model.export.card import public_name
from model.export.clip_model import clip_model
from model.export.processor import PROBES, check_equal, exported_tokenizer
from model.views.projection import APPLY, make_projection
from tests.conftest import some
from tests.data.odd_texts import ODD_TEXTS
from tests.data.test_odd_texts import LENGTH, tokenizers

__all__ = ["tokenizers"]

# Of several lengths, with words of a special token, and one that is truncated.
TEXTS = ["", "red", "a <|end|> b", "circle left of a  blue\nsquare", "red " * 40]
# Loads a folder with transformers alone: features of given pixels, of picture files, and of texts.
ALONE = """
import sys
sys.modules["model"] = None
import numpy as np, torch
from PIL import Image
from transformers import AutoModel, AutoProcessor
folder, given, out = sys.argv[1:4]
given = np.load(given)
model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
pictures = [Image.open(path) for path in given["paths"]]
inputs = processor(images=pictures, text=list(given["texts"]), padding=True, truncation=True, return_tensors="pt")
kind = model.dtype
def features(pixels):
    with torch.no_grad():
        return model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], pixel_values=pixels)
from_files, from_pixels = features(inputs["pixel_values"].to(kind)), features(torch.tensor(given["pixels"]).to(kind))
np.savez(out, files=from_files.image_embeds, pixels=from_pixels.image_embeds, texts=from_files.text_embeds,
         logits=from_pixels.logits_per_image, classes=[type(model).__name__, type(processor).__name__])
"""


@pytest.fixture(scope="module")
def exported(trained_run, tmp_path_factory) -> Path:
    """The folder with float32 weights."""
    folder = tmp_path_factory.mktemp("exported") / "clip"
    assert main([str(trained_run.folder), str(folder)]) == 0
    return folder


def alone(folder: Path, given: Path) -> dict[str, np.ndarray]:
    """The features that transformers computes in another process, which cannot import this project."""
    out = given.with_name(f"{folder.name}.npz")
    command = [sys.executable, "-I", "-c", ALONE, str(folder), str(given), str(out)]
    done = subprocess.run(command, cwd=given.parent, env={"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(np.load(out))


@pytest.fixture(scope="module")
def given(trained_run, picture_folder, tmp_path_factory) -> Path:
    """Pixels, picture files and texts for the other process."""
    file = tmp_path_factory.mktemp("given") / "given.npz"
    pixels = trained_run.source.images("test", range(5)).double() / 127.5 - 1
    paths = [str(path) for path in sorted(picture_folder.iterdir())[:5]]
    np.savez(file, pixels=pixels.numpy(), paths=paths, texts=TEXTS)
    return file


def check(found: dict[str, np.ndarray], run: Path, given: Path, dtype: str, tolerance: float) -> None:
    """Compares features that transformers has computed with those of this project. The image processor of transformers
    normalises pixels in float32, so that features from files differ by that.
    """
    model = load(run, dtype=dtype)
    images = model.encode_images(list(np.load(given)["paths"])).numpy()
    texts = model.encode_texts(TEXTS).numpy()
    assert list(found["classes"]) == ["CLIPModel", "CLIPProcessor"]
    assert np.abs(found["pixels"] - images).max() < tolerance
    assert np.abs(found["files"] - images).max() < 1e-5
    assert np.abs(found["texts"] - texts).max() < tolerance
    assert np.abs(found["logits"] - model.logit_scale * images @ texts.T).max() < 100 * tolerance


def test_transformers_computes_the_same_features(trained_run, exported, given):
    """In this process; the tests below do the same in another one."""
    out = given.with_name("here.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "model", sys.modules["model"])
        patch.setattr(sys, "argv", ["-c", str(exported), str(given), str(out)])
        exec(compile(ALONE, "alone", "exec"), {})
    check(dict(np.load(out)), trained_run.folder, given, "float32", 1e-5)


@pytest.mark.slow
def test_transformers_alone_computes_the_same_features(trained_run, exported, given):
    check(alone(exported, given), trained_run.folder, given, "float32", 1e-5)


@pytest.mark.slow
def test_transformers_alone_computes_the_same_features_in_float64(trained_run, given, tmp_path):
    assert main([str(trained_run.folder), str(tmp_path / "double"), "--dtype", "float64"]) == 0
    check(alone(tmp_path / "double", given), trained_run.folder, given, "float64", 1e-10)


@pytest.mark.parametrize("projection", ["identity", *APPLY])
def test_every_projection_is_folded_into_a_tower(trained_run, projection):
    """A random P, as training has hardly moved the one of the run; in float64, to 1e-10. The configuration of the text
    tower names the end token wrongly, as that of OpenAI's checkpoints does.
    """
    model = load(trained_run.folder, dtype="float64")
    model.encoder.towers.text.config.eos_token_id = 2
    model.encoder.projection = make_projection(projection, model.features).double().requires_grad_(False)
    for matrix in model.encoder.projection.parameters():
        generator = torch.Generator().manual_seed(3)
        matrix.copy_(torch.eye(model.features) + 0.3 * torch.randn(matrix.shape, generator=generator))
    tokens = encode(model.tokenizer, TEXTS[:3] + TEXTS[4:], model.context_length)
    pixels = trained_run.source.images("test", range(4)).double() / 127.5 - 1
    with torch.no_grad():
        outputs = clip_model(model, torch.float64)(input_ids=tokens, pixel_values=pixels)
    for found, features in (
        (outputs.image_embeds, model.encoder.image_features(pixels)),
        (outputs.text_embeds, model.encoder.caption_features(tokens)),
    ):
        torch.testing.assert_close(found, F.normalize(features, dim=-1), rtol=0, atol=1e-10)


def test_the_tokeniser_does_what_the_run_does_around_its_own(trained, exported):
    """Ids by hand: begin 1, end 3, padding 0."""
    tokenizer = AutoTokenizer.from_pretrained(exported)
    rows = tokenizer(["", "red " * 40, "a<|end|>"], padding=True, truncation=True)["input_ids"]
    assert rows[0] == [1, 3] + [0] * 22
    assert (len(rows[1]), rows[1][0], rows[1][-1]) == (24, 1, 3)
    assert rows[2].count(3) == 1
    ids = tokenizer(TEXTS, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
    assert ids.tolist() == encode(trained.tokenizer, [" ".join(text.split()) for text in TEXTS], 24).tolist()


def test_the_image_processor_crops_as_the_run_does(trained, exported, tmp_path):
    """Equal for squares and for sides that scale to whole pixels; otherwise within the difference that the card names:
    one pixel of the longer side.
    """
    ours = AutoImageProcessor.from_pretrained(exported)
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    smooth = Image.fromarray(noise).resize((12, 12)).resize((300, 300), Image.Resampling.BICUBIC)
    for size, most in (((300, 300), 1e-6), ((48, 96), 1e-6), ((200, 150), 1e-6), ((301, 200), 0.15)):
        picture = smooth.resize(size)
        found = ours(picture, return_tensors="pt")["pixel_values"]
        difference = (found - trained._pixels([picture], slice(0, 1))).abs()
        assert found.shape == (1, 3, 48, 48)
        assert float(difference.max()) < most, size


def test_the_card_has_the_figures_of_the_run_and_what_is_left_out(exported, trained_run):
    card = (exported / "README.md").read_text(encoding="utf-8")
    summary = json.loads((trained_run.folder / "summary.json").read_text())
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert f"| `test/recall@1` | {summary['metrics']['test/recall@1']:.4g} |" in card
    assert "| loss | normsv5 |" in card
    assert "- `decoded_2` is not a feature of its own" in card
    assert "- `encoded_2` is not a feature of its own" in card
    assert "license:" not in card.split("---")[1]
    assert [public_name(name) for name in (None, "org/clip", "/home/me/clip")] == [None, "org/clip", "clip"]


def test_the_python_code_of_the_card_runs(exported, tmp_path, monkeypatch, capsys):
    card = (exported / "README.md").read_text(encoding="utf-8")
    code = card.partition("```python\n")[2].partition("```")[0].replace("<folder>", str(exported))
    Image.new("RGB", (60, 50), "red").save(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "card", "exec"), {})
    assert "tensor([[" in capsys.readouterr().out


def test_a_full_folder_is_kept_unless_asked(trained_run, tmp_path, capsys):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "mine.txt").write_text("mine")
    (tmp_path / "clip" / "config.json").write_text("old")
    arguments = [str(trained_run.folder), str(tmp_path / "clip")]
    assert main(arguments) == 2
    assert "clip is not empty; allowed: an empty or new folder, or --overwrite" in capsys.readouterr().err
    assert (tmp_path / "clip" / "config.json").read_text() == "old"
    assert main([*arguments, "--overwrite"]) == 0
    assert json.loads((tmp_path / "clip" / "config.json").read_text())["model_type"] == "clip"
    assert (tmp_path / "clip" / "mine.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_a_failure_leaves_the_folder_as_it_was(trained_run, tmp_path, monkeypatch, capsys):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device", str(tmp_path / "clip"))

    monkeypatch.setattr("transformers.CLIPProcessor.save_pretrained", full)
    assert main([str(trained_run.folder), str(tmp_path / "clip")]) == 1
    assert "could not be written (No space left on device)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_tokenisers_that_transformers_reads_otherwise_are_refused(trained_run):
    model = load(trained_run.folder)
    model.encoder.tokens = type(model.encoder.tokens)(begin=1, end=2, pad=0, vocabulary=300)
    with pytest.raises(ConfigError, match="has an end token with the id 2"):
        clip_model(model, torch.float32)
    without_begin_and_end = model.tokenizer
    with pytest.raises(ConfigError, match="gives other tokens for 'red'"):
        check_equal(model, without_begin_and_end, ["red"])


@pytest.mark.parametrize("kind", some(["CLIP", "own"], every=2))
def test_odd_texts_become_the_tokens_of_the_run(tokenizers, kind, tmp_path):
    """Of a trained tokeniser, and of one like CLIP's, which pads with its end token; after saving and loading."""
    model = SimpleNamespace(tokenizer=tokenizers[kind], context_length=LENGTH)
    exported_tokenizer(model).save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    texts = [text for text in ODD_TEXTS.values() if not has_lone_surrogate(text)]
    found = loaded(texts, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
    wanted = encode(tokenizers[kind], [clean(text) for text in texts], LENGTH)
    assert [text for text, one, other in zip(texts, found, wanted, strict=True) if not one.equal(other)] == []
    check_equal(model, loaded, [*PROBES, *map(str, tokenizers[kind].all_special_tokens)])
