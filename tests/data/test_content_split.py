"""The content of a picture decides its split: copies stay together, and further pictures move as few as possible."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pytest

from model.data.content_split import split_by_content
from model.data.row_ranges import as_ranges, from_ranges
from model.errors import ConfigError
from tests.data.table_folder import captions_of, simple_rows, source_of, write_pictures, write_table

SPLITS = ("train", "val", "test")


def names(count: int, first: int = 0) -> list[str]:
    """Hashes of different contents."""
    return [f"{number:032x}" for number in range(first, first + count)]


def members(digests: list[str], **sizes) -> dict[str, list[str]]:
    """Split -> the contents in it."""
    split = split_by_content(digests, **sizes)
    return {name: [digests[position] for position in getattr(split, name)] for name in SPLITS}


@pytest.mark.parametrize("seed", range(5))
def test_equal_contents_are_never_in_two_splits(seed):
    generator = np.random.default_rng(seed)
    digests = [f"{number:032x}" for number in generator.integers(0, 30, 80)]
    split = split_by_content(digests, val=9, test=11)
    assert sorted([*split.train, *split.val, *split.test, *split.surplus]) == list(range(80))
    assert (len(split.val), len(split.test)) == (9, 11)
    contents = [{digests[position] for position in getattr(split, name)} for name in SPLITS]
    assert not contents[0] & contents[1]
    assert not contents[0] & contents[2]
    assert not contents[1] & contents[2]
    held_out = contents[1] | contents[2]
    assert all(digests[position] in held_out for position in split.surplus)


def test_the_order_of_the_table_does_not_matter():
    digests = names(50)
    split = members(digests, val=7, test=8)
    again = members(digests[::-1], val=7, test=8)
    assert [set(split[name]) for name in SPLITS] == [set(again[name]) for name in SPLITS]
    assert split["val"] == again["val"]


def test_a_smaller_split_is_the_beginning_of_a_larger_one():
    digests = names(50)
    small, large = members(digests, val=5, test=6), members(digests, val=15, test=16)
    assert large["val"][:5] == small["val"]
    assert large["test"][:6] == small["test"]
    assert set(members(digests, val=5, test=6, train=10)["train"]) <= set(small["train"])


def test_further_pictures_move_no_other_between_val_and_test_or_into_them():
    before, after = members(names(200), val=40, test=30), members(names(260), val=40, test=30)
    for name in ("val", "test"):
        stayed = set(before[name]) & set(after[name])
        # About 60 / 260 of 40 pictures give way to new ones; each of those that leave goes to train.
        assert 20 <= len(stayed) <= 40
        assert set(before[name]) - stayed <= set(after["train"])
        assert set(after[name]) - stayed <= set(names(60, 200))


def test_pictures_are_spread_evenly():
    """Of 2,000 contents, 400 in val: the mean number of even ones is 200, and the deviation is below 9."""
    val = split_by_content(names(2000), val=400, test=2).val
    assert 155 <= sum(position % 2 == 0 for position in val) <= 245
    assert 155 <= sum(position < 1000 for position in val) <= 245


@pytest.mark.parametrize(
    ("rows", "text"), [([], ""), ([5], "5"), ([0, 1, 2, 4, 3, 7, 8], "0-2,4,3,7-8"), ([3, 2, 1], "3,2,1")]
)
def test_rows_as_text(rows, text):
    assert as_ranges(rows) == text
    assert from_ranges(text, 9).tolist() == rows


@pytest.mark.parametrize("text", ["a", "1-", "-1", "1--2", "9", "0-9", "1 2", "1,,2", "1-2-3"])
def test_a_damaged_text_of_rows_is_refused(text):
    with pytest.raises(ValueError, match=r"no list of rows|not in the table"):
        from_ranges(text, 9)


def test_a_picture_under_two_names_is_in_one_split(tmp_path):
    """Each of ten pictures has three names."""
    write_pictures(tmp_path, *range(10))
    rows = simple_rows(*range(10))
    for number in range(10):
        for copy in ("a", "b"):
            shutil.copy(tmp_path / f"{number:04}.png", tmp_path / f"{copy}{number}.png")
            rows.append({"file_name": f"{copy}{number}.png", "text": f"picture {number}"})
    source = source_of(write_table(tmp_path / "t.csv", rows), val_size=4, test_size=5)
    texts = [{text for own in captions_of(source, split) for text in own} for split in SPLITS]
    assert [source.size(split) for split in SPLITS] == [18, 4, 5]  # val needs two pictures, and so does test
    assert sum(map(len, texts)) == len(texts[0] | texts[1] | texts[2])
    report = source.part_reports["t.csv"]
    assert len(report.surplus) == 3
    assert report.left_out() == 3


def test_the_split_depends_on_the_content_and_not_on_the_name(tmp_path):
    one = source_of(write_table(write_pictures(tmp_path / "a", *range(20)) / "t.csv", simple_rows(*range(20))))
    folder = write_pictures(tmp_path / "b", *range(20), name="other {:02}.png")
    rows = [{"file_name": f"other {number:02}.png", "text": f"picture {number}"} for number in range(19, -1, -1)]
    two = source_of(write_table(folder / "t.jsonl", rows))
    for split in SPLITS:
        assert sorted(captions_of(one, split)) == sorted(captions_of(two, split))
    assert captions_of(one, "val") == captions_of(two, "val")


def with_splits(tmp_path, *splits: str):
    """A table with a column of splits, and the pictures of its rows."""
    write_pictures(tmp_path, *range(len(splits)))
    rows = [row | {"part": split} for row, split in zip(simple_rows(*range(len(splits))), splits, strict=True)]
    return write_table(tmp_path / "t.csv", rows)


def numbers(source, split: str) -> list[int]:
    """The pictures of a split."""
    return [int(texts[0].split()[-1]) for texts in captions_of(source, split)]


@pytest.mark.parametrize(
    ("splits", "val", "test"),
    [
        ("train dev Test train TEST validation test train val valid", [1, 5], [2, 4]),
        ("train val train val train val val train", [1, 3], [5, 6]),  # without test
        ("train test train test train test test train", [1, 3], [5, 6]),  # without val
    ],
)
def test_a_column_of_splits_decides(tmp_path, splits, val, test):
    words = splits.split()
    source = source_of(with_splits(tmp_path, *words), split_column="part")
    assert numbers(source, "train") == [number for number, word in enumerate(words) if word == "train"]
    assert (numbers(source, "val"), numbers(source, "test")) == (val, test)


def test_a_table_of_one_split_is_divided_by_content(tmp_path):
    file = with_splits(tmp_path, *["train"] * 12)
    source, free = source_of(file, split_column="part"), source_of(file)
    for split in SPLITS:
        assert numbers(source, split) == numbers(free, split)


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ("val val val test test", ("data.split_column", "for train", "data.split_column=null")),
        ("train train val test test", ("data.val_size=2", "up to 1 images of t.csv with the split val")),
        ("train train val val val", ("data.test_size=2", "up to 1 images of t.csv with the split val after those")),
    ],
)
def test_splits_with_too_few_rows_are_refused(tmp_path, splits, words):
    with pytest.raises(ConfigError) as error:
        source_of(with_splits(tmp_path, *splits.split()), split_column="part")
    assert [word for word in words if word not in str(error.value)] == []


def test_pictures_of_two_splits_are_named(tmp_path, caplog):
    file = with_splits(tmp_path, "train", "train", "val", "val", "test", "test")
    shutil.copy(tmp_path / "0000.png", tmp_path / "0004.png")
    with caplog.at_level(logging.WARNING, "model.data"):
        source_of(file, split_column="part")
    assert [record.getMessage() for record in caplog.records][-1] == (
        "t.csv: 1 image of val and test is also in train (same file content), so that the figures of val and test are "
        "too high: 0004.png"
    )


def test_too_few_different_pictures_are_refused(tmp_path):
    """Five copies of one picture and two others: val, test and train need two, two and one."""
    write_pictures(tmp_path, *range(3))
    for number in range(3, 7):
        shutil.copy(tmp_path / "0000.png", tmp_path / f"{number:04}.png")
    with pytest.raises(ConfigError, match=r"no copies of images of another split"):
        source_of(write_table(tmp_path / "t.csv", simple_rows(*range(7))), val_size=3, test_size=2)
