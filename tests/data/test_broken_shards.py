"""Broken members and shards: left out, counted and named, also in resumed runs. What was read once is remembered."""

from __future__ import annotations

import gzip
import json
import logging
import os
import tarfile

import pytest

from model.data import array_cache
from model.data.loader import load_batches
from model.data.sampler import ordered_batches
from model.data.source import UnreadablePictures
from model.errors import ConfigError
from tests.data.helpers import small_data
from tests.data.shard_files import picture, sample, samples, shards, texts, write_tar

PICTURE_FORMATS = ".jpg, .jpeg, .png, .webp, .gif, .bmp, .tif, .tiff"
# Files of the sample 00005 that replace its own (None: removed), and the reason in the message.
BROKEN = {
    "text": ({"png": b"no picture"}, "has no known picture format; allowed: JPEG, PNG, WebP, GIF, BMP, TIFF"),
    "half": ({"png": picture(5)[:200]}, "is damaged ("),
    "empty": ({"png": b""}, "is empty"),
    "no picture": ({"png": None}, f"has no picture; allowed: {PICTURE_FORMATS}"),
    "not json": ({"json": b'{"captions": ['}, "has a .json that is not JSON (Expecting value: "),
    "a list": ({"json": b'["a"]'}, "has a .json with a list; allowed: an object"),
    "a number": ({"json": b'{"captions": ["a", 3]}'}, 'has a .json with "captions": a list; allowed: a text or a list'),
    "latin": ({"json": None, "txt": "Kätzchen".encode("latin-1")}, "has a .txt that is not UTF-8 (byte 1)"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of an empty cache for each test."""
    monkeypatch.setattr(array_cache, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "shards"


def with_broken(kind: str) -> dict[str, bytes]:
    """Twelve samples, of which number 5 is broken."""
    files: dict[str, bytes | None] = dict(samples(0, 5))
    fifth = {f"00005.{extension}": content for extension, content in BROKEN[kind][0].items()}
    files |= sample(5) | fifth | samples(6, 12)
    return {name: content for name, content in files.items() if content is not None}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_sample_is_left_out_counted_and_named(kind, tmp_path, caplog):
    write_tar(tmp_path / "train.tar", with_broken(kind))
    write_tar(tmp_path / "val.tar", samples(50, 58))
    with caplog.at_level(logging.WARNING):
        source = shards(tmp_path / "train.tar", val=str(tmp_path / "val.tar"))
    assert texts(source, "train") == [[f"train picture {number}"] for number in range(12) if number != 5]
    name = "train.tar/00005" + ("" if kind == "no picture" else ".png")
    messages = [message for message in caplog.messages if "left out" in message]
    assert len(messages) == 1
    assert messages[0].startswith(f"train: 1 image is left out because of its file: {name} {BROKEN[kind][1]}")
    assert source.record["left_out"]["val"] == {}
    assert list(source.record["left_out"]["train"]) == [name]
    assert len(source.images("train", range(11))) == 11


def test_of_a_truncated_shard_the_samples_before_are_used(tmp_path, caplog):
    """The first of two shards ends in the middle of its eighth picture."""
    for number in range(2):
        write_tar(tmp_path / f"{number}.tar", samples(10 * number, 10 * number + 10))
    with tarfile.open(tmp_path / "0.tar") as tar:
        end = tar.getmember("00007.png").offset_data + 100
    os.truncate(tmp_path / "0.tar", end)
    write_tar(tmp_path / "val" / "val.tar", samples(50, 58))
    with caplog.at_level(logging.WARNING):
        source = shards(tmp_path, val=str(tmp_path / "val"))
    numbers = [int(text.split()[-1]) for (text,) in texts(source, "train")]
    assert numbers == [*range(7), *range(10, 20)]
    assert caplog.messages == [
        "train: 1 file cannot be read as a whole; the images before the damage are used: "
        f"0.tar is truncated at byte {end:,}, within 00007.png"
    ]
    assert source.part_reports["train"].left_out() == 1


def test_the_second_of_two_files_with_one_name_is_left_out(tmp_path):
    (tmp_path / "one.tar").write_bytes(b"")
    write_tar(tmp_path / "a.tar", {f"{name}/{key}": value for name in "ab" for key, value in samples(0, 6).items()})
    one, two = write_tar(tmp_path / "1.tar", samples(0, 12)), write_tar(tmp_path / "2.tar", sample(3, "again"))
    content = one.read_bytes().rstrip(b"\0")
    one.write_bytes(content + bytes(-len(content) % 512) + two.read_bytes())
    source = shards(one)
    assert source.part_reports["train"].repeated_images == ["1.tar/00003.png"]
    assert sum(source.size(split) for split in ("train", "val", "test")) == 12


def test_a_record_gives_the_same_rows_without_decoding_although_files_have_changed(tmp_path, monkeypatch):
    write_tar(tmp_path / "a.tar", with_broken("half"))
    before = shards(tmp_path / "a.tar")
    record = json.loads(json.dumps(before.record))
    write_tar(tmp_path / "a.tar", samples(0, 12))
    monkeypatch.setattr("model.data.shard_pictures.examine_opened", lambda opener: pytest.fail("a picture was decoded"))
    after = shards(tmp_path / "a.tar", record=record)
    for split in ("train", "val", "test"):
        assert texts(after, split) == texts(before, split)
    assert after.files("val") is None
    assert after.record == before.record


def test_a_resumed_run_whose_shards_were_moved_has_the_same_rows(tmp_path):
    """Two shards have the same name in different folders, and each has the same names of files."""
    for folder in "ab":
        write_tar(tmp_path / "before" / folder / "0.tar", samples(0, 8, folder, name=folder * 2))
    before = shards([f"{tmp_path}/before/{folder}" for folder in "ab"])
    (tmp_path / "before").rename(tmp_path / "after")
    after = shards([f"{tmp_path}/after/{folder}" for folder in "ab"], record=before.record)
    assert texts(before, "val") == texts(after, "val")
    assert texts(before, "train") == texts(after, "train")


def test_a_resumed_run_with_other_splits_is_refused(tmp_path):
    write_tar(tmp_path / "train-0.tar", samples(0, 12))
    before = shards(tmp_path)
    write_tar(tmp_path / "val-0.tar", samples(20, 30))
    with pytest.raises(ConfigError) as error:
        shards(tmp_path, record=before.record)
    assert str(error.value) == (
        "data.root, data.val and data.test now name shards of train and val; allowed: shards of train, as when the run "
        "began"
    )


def test_a_shard_that_changes_during_a_run_is_not_read(tmp_path, caplog):
    write_tar(tmp_path / "train.tar", samples(0, 6))
    write_tar(tmp_path / "train2.tar", samples(6, 12))
    write_tar(tmp_path / "val" / "val.tar", samples(50, 58))
    source = shards(f"{tmp_path}/train*.tar", val=str(tmp_path / "val"))
    write_tar(tmp_path / "train.tar", samples(20, 27))
    with pytest.raises(UnreadablePictures) as error:
        source.images("train", [1, 6])
    assert error.value.reasons == {0: "train.tar/00001.png lies in a shard that was changed after it was read first"}
    data = small_data(source, captions=1)
    batch = next(load_batches(data.dataset("train", training=True), ordered_batches(12, 12), 0))
    assert batch.indices.tolist() == [6] * 6 + list(range(6, 12))


def test_pictures_and_headers_are_read_once(tmp_path, cache, monkeypatch):
    write_tar(tmp_path / "a.tar", samples(0, 12))
    assert shards(tmp_path / "a.tar").part_reports["train"].examined == 12
    with monkeypatch.context() as patch:
        for function in ("read_samples", "read_texts", "examine_pictures"):
            patch.setattr(f"model.data.shard_reading.{function}", lambda *rest: pytest.fail("a shard was read again"))
        again = shards(tmp_path / "a.tar")
    assert again.part_reports["train"].examined == 0
    assert len(again.files("train")) == 4
    os.utime(tmp_path / "a.tar", (1, 1))
    assert shards(tmp_path / "a.tar").part_reports["train"].examined == 12


@pytest.mark.parametrize("damage", ["cut", "text", "shared", "folder"])
def test_a_damaged_cache_is_written_again(damage, tmp_path, cache):
    write_tar(tmp_path / "a.tar", samples(0, 12))
    before = texts(shards(tmp_path / "a.tar"), "train")
    for file in cache.glob("*.arrays"):
        if damage == "cut":
            os.truncate(file, file.stat().st_size - 1)
        elif damage == "text":
            file.write_text("[]\n")
        elif damage == "shared":
            file.chmod(0o666)
        else:
            file.unlink()
            file.mkdir()
    source = shards(tmp_path / "a.tar")
    assert source.part_reports["train"].examined == 12
    assert texts(source, "train") == before


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (
            samples(0, 12, "a", "b"),
            {"captions": 3},
            "data.captions=3 is more than any sample of train has; allowed: 1 to 2",
        ),
        (samples(0, 12), {"sizes": {"val": 12}}, "data.val_size=12 is more than there are; allowed: up to 10 samples"),
        (samples(0, 12), {"sizes": {"train": 6}}, "data.train_size=6 is more than there are; allowed: up to 4 samples"),
        (samples(0, 8), {}, "data.test_size=4 is more than there are; allowed: up to 3 samples"),
        ({"a.txt": b"a"}, {}, "data.root: no sample of the shards can be used (a.tar/a has no picture"),
        ({}, {}, "data.root: no sample of the shards can be used; allowed: "),
        ({"a.png": picture(1)}, {}, "data.captions=1 is more than any sample of train has; allowed: shards whose"),
    ],
)
def test_too_few_samples_are_refused(files, options, message, tmp_path):
    write_tar(tmp_path / "a.tar", files)
    with pytest.raises(ConfigError) as error:
        shards(tmp_path / "a.tar", **options)
    assert str(error.value).startswith(message)


def test_a_compressed_shard_is_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(gzip.compress(write_tar(tmp_path / "b", samples(0, 12)).read_bytes()))
    with pytest.raises(ConfigError, match=r"data\.root: the shard .*a\.tar is compressed with gzip.*\ndecompress it"):
        shards(tmp_path / "a.tar")
