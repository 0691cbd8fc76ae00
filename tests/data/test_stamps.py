"""The source of stamps: pictures and sentences of a small folder, and of Tux Paint's folder where it is installed."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.data import check_source, make_source
from model.data.source import SourceOptions, SplitSizes
from model.data.stamp_files import find_folder, read_sentences, read_stamps
from model.data.stamps import StampSource
from model.errors import ConfigError
from tests.conftest import compose_run
from tests.data.helpers import needs_stamps, small_data

SPLITS = ("train", "val", "test")
RED, BLUE = (255, 0, 0, 255), (0, 0, 255, 255)


def write_stamp(path: Path, text: str | None, colour=RED, size: tuple[int, int] = (20, 10)) -> None:
    """Writes a picture of one colour with a transparent column at its left, and the text beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGBA", size, colour)
    picture.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    picture.save(path)
    if text is not None:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Returns a folder with twelve stamps, and with files that are no stamps."""
    for number in range(10):
        text = f"Animal {number}.\nes.utf8=Animal  número {number}.\nde.utf8=Tier {number}.\nno line\n"
        write_stamp(tmp_path / "animals" / "wild" / f"a{number}.png", text)
    write_stamp(tmp_path / "town" / "b.png", "A red sign.\nes.utf8=Una señal.\nde.utf8=Ein Schild.\n", size=(10, 20))
    write_stamp(tmp_path / "town" / "c.png", "A blue sign.\nes.utf8=Una señal azul.\nde.utf8=\n", BLUE)
    write_stamp(tmp_path / "town" / "b_mirror.png", None)
    (tmp_path / "town" / "d.svg").write_text("<svg/>")
    (tmp_path / "town" / "d.txt").write_text("A drawing.\n")
    (tmp_path / "town" / "b.ogg").write_bytes(b"sound")
    return tmp_path


def make(folder: Path, languages=("en", "es"), *, size: int = 20) -> StampSource:
    """Returns the source of the folder with three held-out stamps."""
    return StampSource(folder, list(languages), SplitSizes(None, 2, 2), image_size=size)


def everything(source: StampSource) -> dict[str, tuple[torch.Tensor, str]]:
    """Returns caption 1 -> picture and category."""
    return {
        texts[0]: (picture, source.class_names[label])
        for split in SPLITS
        for texts, picture, label in zip(
            source.texts(split, range(source.size(split))),
            source.images(split, range(source.size(split))),
            source.labels(split, range(source.size(split))),
            strict=True,
        )
    }


def test_what_is_a_stamp(folder):
    content = read_stamps(folder)
    assert (len(content.stamps), content.drawings, content.without_text) == (12, 1, 1)
    assert {stamp.category for stamp in content.stamps} == {"animals", "town"}


def test_the_sentences_of_a_text(tmp_path):
    text = (
        "One  dog. \nes.utf8=Un perro\u2028ca@valencia.utf8=x\nde.utf8=Ein = Hund.\r\n"
        "zh_CN.utf8=\nfr=no\nca@valencia.utf8=Un gos.\n"
    )
    (tmp_path / "a.txt").write_text(text, encoding="utf-8", newline="")
    assert read_sentences(tmp_path / "a.txt") == {
        "en": "One dog.",
        "es": "Un perro ca@valencia.utf8=x",
        "de": "Ein = Hund.",
        "ca@valencia": "Un gos.",
    }


def test_captions_are_the_sentences_in_the_order_of_the_languages(folder):
    for languages in (("en", "es"), ("es", "en")):
        source = make(folder, languages)
        assert source.captions == 2
        assert [source.size(split) for split in SPLITS] == [8, 2, 2]
        texts = [texts for split in SPLITS for texts in source.texts(split, range(source.size(split)))]
        expected = {("Animal 3.", "Animal número 3."), ("A red sign.", "Una señal.")}
        assert expected <= {tuple(row if languages[0] == "en" else row[::-1]) for row in texts}
        assert len({row[0] for row in texts}) == 12


def test_the_whole_picture_is_shown_on_white(folder):
    stamps = everything(make(folder))
    wide, category = stamps["Animal 3."]
    assert category == "animals"
    red, white = torch.tensor([255, 0, 0]), torch.tensor([255, 255, 255])
    # 20 x 10 pixels: the right half of the middle rows is red.
    assert torch.equal(wide[:, 10, 15], red)
    for place in ((10, 5), (2, 15), (17, 15)):
        assert torch.equal(wide[:, place[0], place[1]], white)
    tall, category = stamps["A red sign."]
    assert category == "town"
    assert torch.equal(tall[:, 10, 12], red)
    assert torch.equal(tall[:, 10, 17], white)
    assert torch.equal(stamps["A blue sign."][0][:, 10, 15], torch.tensor([0, 0, 255]))


def test_stamps_without_a_language_are_left_out_and_counted(folder, caplog):
    with caplog.at_level(logging.INFO):
        source = make(folder, ("en", "de"))
    assert sum(source.size(split) for split in SPLITS) == 11
    assert "1 stamp without a sentence in every one of data.languages: left out" in caplog.text
    assert "1 SVG files and 1 PNG files without a text are left out" in caplog.text


def test_the_splits_do_not_depend_on_seed_or_place(folder, tmp_path_factory):
    values = ["data.val_size=2", "data.test_size=2", "data.batch_size=4", "data.captions=2", "data.languages=[en,es]"]
    config = compose_run("data=stamps", "model.captions=2", f"data.root={folder}", *values).data
    check_source(config)
    moved = tmp_path_factory.mktemp("other") / "stamps"
    folder.rename(moved)
    first = make(moved)
    config.root = str(moved)
    second = make_source(config, SourceOptions(20, 9))
    for split in SPLITS:
        rows = range(first.size(split))
        assert first.texts(split, rows) == second.texts(split, rows)
        assert torch.equal(first.images(split, rows), second.images(split, rows))


def test_a_changed_training_picture_lies_on_a_tinted_ground(folder):
    from model.data.transforms import Transforms

    source = make(folder)
    preset = compose_run("data=stamps").data.transforms
    assert preset.fill == "white"
    changed = Transforms(preset, 0).change(source.images("train", range(8)), 0, np.arange(8))
    corners = changed[:, :, 0, 0]
    assert corners.min() >= 0.75 * 255
    assert corners.std(0).min() > 5
    batch = next(iter(small_data(source, transforms=Transforms(preset, 0)).train_dataloader()))
    assert batch.images.shape == (4, 3, 20, 20)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.root=/nowhere"], r"data\.root=/nowhere is no folder; allowed: .*apt-get install tuxpaint"),
        (["data.captions=2"], r"data\.captions=2 is not the number of data\.languages; allowed: 5"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_read(overrides, message):
    with pytest.raises(ConfigError, match=message):
        check_source(compose_run("data=stamps", "model.captions=2", *overrides).data)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("model.data.stamp_files.FOLDERS", ("/nowhere/stamps",))
    with pytest.raises(ConfigError, match=r"data=stamps has no folder /nowhere/stamps; allowed: apt-get install"):
        find_folder(None)


def test_an_unknown_language_a_damaged_file_and_too_few_stamps_are_refused(folder):
    with pytest.raises(ConfigError, match=r"data\.languages has xx, which no stamp has; allowed: de, en, es"):
        make(folder, ("en", "xx"))
    with pytest.raises(ConfigError, match=r"data\.val_size=50 is more than there are; allowed: up to 10 stamps"):
        StampSource(folder, ["en"], SplitSizes(None, 50, 2), image_size=20)
    (folder / "town" / "c.png").write_bytes(b"\x89PNG damaged")
    with pytest.raises(ConfigError, match=r"data=stamps: .*c\.png begins like a PNG file, but is damaged"):
        make(folder)


class TestWithStamps:
    """Tux Paint's folder."""

    pytestmark = needs_stamps

    @pytest.mark.slow
    def test_785_pictures_in_five_languages(self):
        source = make_source(compose_run("data=stamps").data, SourceOptions(32, 0))
        assert [source.size(split) for split in SPLITS] == [585, 100, 100]
        assert len(source.class_names) == len(source.prompts) == 16
        assert all(len(texts) == 5 and all(texts) for texts in source.texts("train", range(585)))

    def test_the_content_of_the_package(self):
        content = read_stamps(find_folder(None))
        assert (len(content.stamps), content.without_text) == (785, 11)
        quarter = next(stamp for stamp in content.stamps if stamp.picture.match("us/coins/025quarter.png"))
        assert quarter.category == "symbols"
        assert quarter.sentences["en"] == "A US 25 cent piece ($.25) called a quarter."
        assert quarter.sentences["es"].startswith("Una moneda estadounidense de 25 centavos")
