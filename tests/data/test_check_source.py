"""A source refuses impossible settings, missing files and missing packages before anything is read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from model.data import check_source, make_source
from model.data import emoji as emoji_source
from model.data.source import SourceOptions
from model.errors import ConfigError
from tests.data.helpers import needs_font

SHARED = {
    "batch_size": 4,
    "num_workers": 0,
    "train_size": 20,
    "val_size": 5,
    "test_size": 5,
    "captions": 5,
    "tokenizer": None,
    "vocab_size": 400,
}


def config(name: str, **values) -> SimpleNamespace:
    """Returns the group `data` of a configuration."""
    return SimpleNamespace(name=name, **(SHARED | values))


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (config("scenes", train_size=None), ("data.train_size=null", "data=scenes", "allowed")),
        (config("scenes", captions=6), ("data.captions=6", "allowed: 1 to 5")),
        (config("coco", root=None, year="2017"), ("data.root=null", "allowed")),
        (config("coco", root="nowhere", year="2017"), ("data.root=nowhere", "allowed")),
        (config("coco", root=".", year="2015"), ("data.year=2015", "allowed: 2014, 2017")),
        (
            config("emoji", root="nowhere", languages=["en"], captions=1),
            ("data.root=nowhere", "apt-get install fonts-noto-color-emoji"),
        ),
        (config("emoji", root=None, languages=["en", "xx"], captions=2), ("data.languages=xx", "allowed", "zh")),
        (config("emoji", root=None, languages=[], captions=0), ("data.languages=[]", "allowed")),
        (config("emoji", root=None, languages=["en"]), ("data.captions=5", "allowed: 1")),
    ],
)
def test_impossible_settings_are_refused(group, words):
    with pytest.raises(ConfigError) as error:
        check_source(group)
    assert [word for word in words if word not in str(error.value)] == []
    assert len(str(error.value).splitlines()) <= 2


def test_without_the_font_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr("model.data.fonts.FOLDERS", ("nowhere",))
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match=r"apt-get install fonts-noto-color-emoji"):
        check_source(config("emoji", root=None, languages=["en"], captions=1))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(emoji_source, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install nway-clip\[emoji\]"):
        check_source(config("emoji", root=None, languages=["en"], captions=1))


def test_a_font_in_a_folder_is_found(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "NotoColorEmoji.ttf").touch()
    check_source(config("emoji", root=str(tmp_path), languages=["en"], captions=1))


def test_scenes_are_made():
    source = make_source(config("scenes"), SourceOptions(48, 1))
    assert [source.size(split) for split in ("train", "val", "test")] == [20, 5, 5]
    assert source.images("test", [4]).shape == (1, 3, 48, 48)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ConfigError, match=r"data\.batch_size=21 .*allowed: 20"):
        make_source(config("scenes", batch_size=21), SourceOptions(32, 0))


class TestWithFont:
    """Sources that need the font."""

    pytestmark = needs_font

    @pytest.mark.slow
    def test_emoji_are_made(self):
        group = config("emoji", root=None, languages=["en", "fr"], captions=2)
        check_source(group)
        source = make_source(group, SourceOptions(32, 0))
        assert (source.size("train"), source.captions) == (20, 2)
