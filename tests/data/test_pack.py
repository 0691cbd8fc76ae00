"""``python -m model.data.pack``: what it writes is what the source has, byte for byte the same at every call, and it
continues where it was stopped.
"""

from __future__ import annotations

import errno
import io
import json
import shlex
import signal
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from model.data import make_source, pack_shards
from model.data.pack import main
from model.data.source import SPLITS, SourceOptions
from model.interruption import Interrupted
from tests.conftest import compose_run
from tests.data.coco_folder import write_folder
from tests.data.helpers import needs_font
from tests.data.shard_files import picture, shards, texts

SCENES = ("data=scenes", "data.train_size=30", "data.val_size=6", "data.test_size=5", "backbone.image_size=32")
SMALL_EMOJI = ("data=emoji", "data.train_size=20", "data.val_size=6", "data.test_size=5", "data.augment=false")


@pytest.fixture(autouse=True)
def composed_once(monkeypatch) -> None:
    """Lets the tests share compositions, because Hydra needs half a second for each."""
    monkeypatch.setattr("model.data.pack_source.composed_run", lambda overrides: compose_run(*overrides))


def coco_settings(root) -> tuple[str, ...]:
    """The settings of a COCO folder with instances in val only."""
    write_folder(root, train=14, val=9)
    instances = {
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "old hat"}],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 5 if number % 2 else 3, "area": 1.0}
            for number in range(7)
        ],
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(instances))
    return ("data=coco", f"data.root={root}", "data.val_size=5", "data.test_size=4")


def source_of(*settings: str):
    """The source that a run with these settings has."""
    config = compose_run("model=clip", "loss=stock", "data.batch_size=2", *settings)
    return make_source(config.data, SourceOptions(config.backbone.image_size, config.seed))


def packed(folder, capsys, *settings: str, code: int = 0) -> list[str]:
    """Packs a source, and returns what the command printed."""
    assert main([*settings, str(folder)]) == code
    output = capsys.readouterr()
    return (output.err if code else output.out).splitlines()


def contents(folder) -> dict[str, bytes]:
    """Name of each file in a folder -> its content."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def assert_equal_sources(one, two) -> None:
    """Both sources have the same rows: pictures, captions and labels, and what is derived from them."""
    for field in ("captions", "class_names", "prompts", "normalization"):
        assert getattr(one, field) == getattr(two, field), field
    for split in SPLITS:
        rows = range(one.size(split))
        assert two.size(split) == one.size(split) > 0
        assert torch.equal(one.images(split, rows), two.images(split, rows))
        assert one.texts(split, rows) == two.texts(split, rows)
        labels = one.labels(split, rows), two.labels(split, rows)
        assert labels[0] is labels[1] is None or torch.equal(*labels)


@pytest.mark.parametrize("kind", ["scenes", "coco", pytest.param("emoji", marks=[*needs_font, pytest.mark.slow])])
def test_what_is_read_back_equals_the_source(kind, tmp_path, capsys):
    settings = {"scenes": SCENES, "emoji": SMALL_EMOJI, "coco": ()}[kind] or coco_settings(tmp_path / "coco")
    first, second = packed(tmp_path / "packed", capsys, *settings, "--samples", "9")
    source = source_of(*settings)
    counts = ", ".join(f"{source.size(split)} {split}" for split in SPLITS)
    shards = sum(-(-source.size(split) // 9) for split in SPLITS)
    assert first == f"{counts} samples in {shards} shards"
    program, script, *arguments = shlex.split(second)
    assert (program, script, arguments[0]) == ("python", "train.py", "data=shards")
    assert_equal_sources(source, source_of(*arguments))


def test_a_picture_file_is_packed_as_it_is_and_the_tar_has_no_times(tmp_path, capsys):
    settings = coco_settings(tmp_path / "coco")
    packed(tmp_path / "packed", capsys, *settings)
    with tarfile.open(tmp_path / "packed" / "val-000000.tar") as tar:
        names = tar.getnames()
        assert names[:4] == ["000000000.png", "000000000.json", "000000000.cls", "000000001.png"]
        assert tar.extractfile(names[0]).read() == (tmp_path / "coco" / "val2017" / "0000.png").read_bytes()
        assert json.load(tar.extractfile(names[1]))["captions"][4] == "val2017 picture 0 caption 4"
        assert tar.extractfile(names[2]).read() == b"0"
        assert {(one.mtime, one.uid, one.gid, one.uname, one.mode) for one in tar} == {(0, 0, 0, "", 0o644)}


def test_a_stopped_command_continues_and_gives_the_same_bytes(tmp_path, capsys, monkeypatch):
    """One call is interrupted, then a shard is damaged or replaced by another one. Complete shards are kept."""
    arguments = [*SCENES, "--shard-mb", "0.0205"]
    packed(tmp_path / "whole", capsys, *arguments)
    whole = contents(tmp_path / "whole")
    assert max(len(content) for name, content in whole.items() if name.endswith(".tar")) <= 20_500
    assert len(whole) > 6
    write, calls = pack_shards.write_entry, []

    def interrupted(file, name, content):
        calls.append(name)
        if len(calls) == 40:
            raise Interrupted(signal.SIGINT)
        write(file, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(pack_shards, "write_entry", interrupted)
        assert main([*arguments, str(tmp_path / "parts")]) == 130
    assert "give the same command again" in capsys.readouterr().err
    complete = {name: content for name, content in contents(tmp_path / "parts").items() if name.endswith(".tar")}
    assert 0 < len(complete) < len(whole)
    damaged = max(complete)
    (tmp_path / "parts" / damaged).write_bytes(complete[damaged][:700])
    first, _ = packed(tmp_path / "parts", capsys, *arguments)
    assert first.endswith(f"({len(complete) - 1} of them were complete before)")
    assert contents(tmp_path / "parts") == whole
    (tmp_path / "parts" / "train-000001.tar").write_bytes(whole["train-000000.tar"])  # complete, but of other rows
    packed(tmp_path / "parts", capsys, *arguments)
    assert contents(tmp_path / "parts") == whole


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "make room there"), (errno.EACCES, "choose a folder that can be written to")]
)
def test_a_full_disk_is_explained_and_leaves_no_incomplete_file(number, advice, tmp_path, capsys, monkeypatch):
    def full(file, name, content):
        raise OSError(number, "the reason")

    monkeypatch.setattr(pack_shards, "write_entry", full)
    first, second = packed(tmp_path / "packed", capsys, *SCENES, code=1)
    assert first == f"{tmp_path}/packed/train-000000.tar cannot be written (the reason)"
    assert second == f"{advice}, then give the same command again: complete shards are kept"
    assert sorted(contents(tmp_path / "packed")) == ["classes.json", "pack.json"]


def test_a_picture_that_disappears_is_named(tmp_path, capsys, monkeypatch):
    settings = coco_settings(tmp_path / "coco")
    monkeypatch.setattr("model.data.pack_source.begin", lambda *rest: (tmp_path / "packed").mkdir())
    (tmp_path / "coco" / "train2017" / "0003.png").rename(tmp_path / "away.png")
    source = source_of(*settings)
    assert source.size("train") == 13
    monkeypatch.setattr("model.data.pack_source.make_source", lambda *rest: source)
    (tmp_path / "coco" / "train2017" / "0005.png").unlink()
    first, second = packed(tmp_path / "packed", capsys, *settings, code=1)
    assert first.startswith(f"{tmp_path}/coco/train2017/0005.png cannot be opened (No such file or directory), but was")
    assert second == "restore the file, then give the same command again"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{folder}", "seed=1"), "{folder} has shards with seed=0, now it is 1; allowed: the same settings and data"),
        pytest.param(
            ("{folder}", "--samples", "9"),
            "{folder} has shards with shard_samples=10000, now it is 9; allowed: ",
            marks=pytest.mark.slow,
        ),
        (("{folder}", "{other}"), "{folder} and {other} are several folders; allowed: "),
        (("{other}",), "{other} has other files; allowed: a new folder, or one that this command has begun to fill"),
        ((), "no folder for the shards is named; allowed: settings of the data and one folder"),
        (("{folder}", "trainer.devices=2"), "trainer.devices=2 is not a setting of the data; allowed: data=…"),
        (("{folder}", "data.train_sizes=2"), "data.train_sizes is not a known key; allowed: "),
        (("{folder}", "--samples", "0"), "--samples=0 is too small; allowed: 1 or more"),
        (("{folder}", "--samples=x"), "--samples=x is not a number; allowed: a number above 0"),
        (("{folder}", "--sample", "9"), "--sample is not known; allowed: --shard-mb, --samples"),
        (("{folder}", "--shard-mb"), "--shard-mb= is not a number; allowed: a number above 0"),
    ],
)
def test_mistakes_are_refused(arguments, message, tmp_path, capsys):
    folder, other = tmp_path / "packed", tmp_path / "other"
    folder.mkdir()
    if not {"seed=1", "--samples"} & set(arguments):
        other.mkdir()
        (other / "a.txt").write_text("a")
    else:
        packed(folder, capsys, *SCENES)

    def filled(text):
        return text.replace("{folder}", str(folder)).replace("{other}", str(other))

    assert main([*SCENES, *map(filled, arguments)]) == 2
    assert capsys.readouterr().err.startswith(filled(message))


def test_the_package_webdataset_reads_the_shards(tmp_path, capsys):
    pytest.importorskip("webdataset")
    from webdataset.tariterators import group_by_keys, tar_file_iterator

    packed(tmp_path / "packed", capsys, *SCENES, "--samples", "9")
    source = source_of(*SCENES)
    rows = []
    for path in sorted((tmp_path / "packed").glob("train-*.tar")):
        with path.open("rb") as file:
            rows += group_by_keys({**one, "__url__": path.name} for one in tar_file_iterator(file))
    assert [row["__key__"] for row in rows] == [f"{row:09d}" for row in range(30)]
    images = [np.array(Image.open(io.BytesIO(row["png"]))) for row in rows]
    assert np.array_equal(np.stack(images), source.images("train", range(30)).permute(0, 2, 3, 1).numpy())
    assert [json.loads(row["json"])["captions"] for row in rows] == source.texts("train", range(30))
    assert [int(row["cls"]) for row in rows] == source.labels("train", range(30)).tolist()


def test_shards_of_the_package_webdataset_are_read(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for number in range(12):
            caption = f"picture {number}"
            writer.write({"__key__": f"a/{number:03}", "png": picture(number), "txt": caption, "cls": number % 3})
    source = shards(tmp_path / "a.tar")
    every = [
        (*text, label)
        for split in SPLITS
        for text, label in zip(texts(source, split), source.labels(split, range(4)).tolist(), strict=True)
    ]
    assert sorted(every) == sorted((f"picture {number}", number % 3) for number in range(12))
