"""The source of shards: equal to a COCO folder with the same pictures, in batches, order and resumption; splits;
memory.
"""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace

import pytest
import torch

from model.data.source import SPLITS
from model.data.squares import CLIP_PIXELS
from tests.data.coco_folder import small_source, write_folder
from tests.data.helpers import small_data
from tests.data.shard_files import picture, sample, samples, shards, texts, write_tar
from tests.data.table_folder import source_of, write_table


@pytest.fixture
def both(tmp_path):
    """The sources of a COCO folder and of shards with the same picture files and captions, as other programs write
    them.
    """
    coco = small_source(write_folder(tmp_path / "coco"))
    for split in SPLITS:
        rows = range(coco.size(split))
        files = {}
        for row, file, own in zip(rows, coco.picture_files(split, rows), coco.texts(split, rows), strict=True):
            with file.open() as opened:
                files |= {f"{row}.png": opened.read(), f"{row}.json": json.dumps({"captions": own}).encode()}
        names = list(files)
        for number, first in enumerate(range(0, len(names), 20)):
            write_tar(
                tmp_path / "shards" / f"{split}-{number}.tar", {name: files[name] for name in names[first : first + 20]}
            )
    return coco, shards(tmp_path / "shards", captions=5)


def equal(one, two) -> bool:
    """Whether two batches are equal, bit for bit."""
    return all(torch.equal(getattr(one, field), getattr(two, field)) for field in ("images", "captions", "indices"))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_equal_those_of_a_coco_folder(both, workers):
    coco, packed = (small_data(source, num_workers=workers) for source in both)
    for split in ("val", "test"):
        pairs = zip(coco.eval_dataloader(split), packed.eval_dataloader(split), strict=True)
        assert all(equal(*pair) for pair in pairs)
    loaders = coco.train_dataloader(), packed.train_dataloader()
    for epoch in range(2):
        batches = [list(loader) for loader in loaders]
        assert len(batches[0]) == 6
        assert all(equal(*pair) for pair in zip(*batches, strict=True)), epoch


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_resumption_within_an_epoch(both, workers):
    """After the fourth batch of the second epoch, the next batches are those that a COCO folder gives."""
    coco, packed = (small_data(source, num_workers=workers) for source in both)
    loader = coco.train_dataloader()
    whole = [batch for _ in range(2) for batch in loader]
    interrupted = packed.train_dataloader()
    list(interrupted)
    iterator = iter(interrupted)
    for _ in range(4):
        next(iterator)
    resumed = small_data(both[1], num_workers=workers)
    resumed.load_state_dict(packed.state_dict())
    rest = list(resumed.train_dataloader())
    assert len(rest) == 2
    assert all(equal(*pair) for pair in zip(rest, whole[10:], strict=True))


def test_each_sample_once_across_two_processes_with_two_workers_each(tmp_path):
    """21 samples of training, two processes, batches of 4: an epoch has 16 different samples, without the last
    incomplete batch, and the next epoch has another order.
    """
    for number in range(3):
        write_tar(tmp_path / f"{number}.tar", samples(10 * number, min(10 * number + 10, 29)))
    source = shards(tmp_path)
    names = texts(source, "train")
    seen: dict[int, list[str]] = {0: [], 1: []}
    for rank in range(2):
        data = small_data(source, num_workers=2, captions=1)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        loader = data.train_dataloader()
        for epoch in range(2):
            seen[epoch] += [names[row][0] for batch in loader for row in batch.indices.tolist()]
    assert source.size("train") == 21
    assert [(len(rows), len(set(rows))) for rows in seen.values()] == [(16, 16), (16, 16)]
    assert seen[0] != seen[1]


def test_files_sizes_and_pixels(tmp_path):
    source = shards(write_tar(tmp_path / "a.tar", samples(0, 12)))
    assert [source.size(split) for split in SPLITS] == [4, 4, 4]
    assert (source.normalization, source.class_names, source.prompts) == (CLIP_PIXELS, None, None)
    assert source.labels("train", [0]) is source.matches("train") is None
    facts = source.files("val")
    assert [(fact.width, fact.height, fact.format) for fact in facts] == [(12, 12, "PNG")] * 4
    assert source.images("train", [0, 3]).shape == (2, 3, 32, 32)


def test_the_content_of_pictures_decides_the_splits(tmp_path):
    """Neither the names nor the order of files change val and test."""
    files = samples(0, 40)
    write_tar(tmp_path / "one.tar", files)
    numbers = [number for number in range(40) if number % 2] + list(range(0, 40, 2))
    for shard, own in (("a", numbers[:15]), ("b", numbers[15:])):
        renamed = {f"other/{name}": content for number in own for name, content in sample(number).items()}
        write_tar(tmp_path / "two" / f"{shard}.tar", renamed)
    first, second = shards(tmp_path / "one.tar"), shards(tmp_path / "two")
    for split in ("val", "test"):
        assert texts(first, split) == texts(second, split)
    assert texts(first, "train") != texts(second, "train")
    assert sorted(texts(first, "train")) == sorted(texts(second, "train"))


def test_copies_of_a_picture_are_never_in_two_splits(tmp_path):
    """Each picture three times, with other names and captions."""
    files: dict[str, bytes] = {}
    for number in range(12):
        for copy in range(3):
            name = f"{copy}/{number}"
            files |= {f"{name}.png": picture(number), f"{name}.txt": f"picture {number} copy {copy}".encode()}
    source = shards(write_tar(tmp_path / "a.tar", files), sizes={"val": 6, "test": 3})
    numbers = {split: {text.split()[1] for (text,) in texts(source, split)} for split in SPLITS}
    assert {split: len(own) for split, own in numbers.items()} == {"train": 9, "val": 2, "test": 1}
    assert len(set.union(*numbers.values())) == 12


def test_copies_without_room_are_in_no_split_also_in_a_resumed_run(tmp_path):
    """Each picture three times: val of 4 has one picture whole, and one copy of another."""
    files: dict[str, bytes] = {}
    for number in range(12):
        for copy in range(3):
            files |= {f"{copy}/{number}.png": picture(number), f"{copy}/{number}.txt": f"picture {number}".encode()}
    tar = write_tar(tmp_path / "a.tar", files)
    source = shards(tar, sizes={"val": 4, "test": 3})
    again = shards(tar, sizes={"val": 4, "test": 3}, record=source.record)
    for one in (source, again):
        numbers = {split: [text for (text,) in texts(one, split)] for split in SPLITS}
        assert {split: len(own) for split, own in numbers.items()} == {"train": 27, "val": 4, "test": 3}
        assert not set(numbers["train"]) & set(numbers["val"] + numbers["test"])
    assert [texts(source, split) for split in SPLITS] == [texts(again, split) for split in SPLITS]
    assert len(source.part_reports["train"].surplus) == 2


def test_a_table_of_the_same_pictures_has_the_same_splits(tmp_path):
    files = samples(0, 40)
    source = shards(write_tar(tmp_path / "a.tar", files), sizes={"val": 7, "test": 9})
    rows = []
    for name, content in files.items():
        if name.endswith(".png"):
            (tmp_path / name).write_bytes(content)
            rows.append({"file_name": name, "text": f"train picture {int(name[:5])}"})
    table = source_of(write_table(tmp_path / "rows.csv", rows), val_size=7, test_size=9)
    assert [texts(source, split) for split in SPLITS] == [texts(table, split) for split in SPLITS]


def test_a_pickled_source_reads_the_same_pictures(tmp_path):
    source = shards(write_tar(tmp_path / "a.tar", samples(0, 12)))
    before = source.images("train", range(4))
    assert torch.equal(pickle.loads(pickle.dumps(source)).images("train", range(4)), before)


def test_a_process_holds_at_most_200_bytes_a_sample_beyond_texts_and_names(tmp_path):
    """The size of the pickled source without texts, for 100 further samples of five captions each."""
    sizes = []
    for count in (40, 140):
        files: dict[str, bytes] = {}
        for number in range(count):
            captions = json.dumps({"captions": [f"caption {k} of {number}" for k in range(5)]})
            files |= {f"{number:05}.png": picture(number, size=2), f"{number:05}.json": captions.encode()}
        source = shards(write_tar(tmp_path / f"{count:03}.tar", files), captions=5)
        characters = sum(
            len("".join(texts(source, split)[row])) for split in SPLITS for row in range(source.size(split))
        )
        sizes.append(len(pickle.dumps(source)) - characters - count * len("00000.png"))
    assert 0 < (sizes[1] - sizes[0]) / 100 <= 200
