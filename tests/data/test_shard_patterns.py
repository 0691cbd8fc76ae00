"""Braces as bash expands them, and the shards that data.root, data.val and data.test name."""

from __future__ import annotations

import pytest

from model.data.shard_patterns import expand_braces, split_paths
from model.errors import ConfigError


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a-{000..003}.tar", "a-000.tar a-001.tar a-002.tar a-003.tar"),
        ("{a,b}-{1..3}", "a-1 a-2 a-3 b-1 b-2 b-3"),
        ("{8..11}", "8 9 10 11"),
        ("{08..11}", "08 09 10 11"),
        ("{0..6..3}", "0 3 6"),
        ("{3..1}", "3 2 1"),
        ("{a,{b,c}{1..2}}z", "az b1z b2z c1z c2z"),
        ("{a,}b", "ab b"),
        ("q{abc}r", "q{abc}r"),
        ("plain", "plain"),
    ],
)
def test_braces_as_in_bash(pattern, expected):
    """The expected texts are those that bash prints."""
    assert " ".join(expand_braces(pattern)) == expected


def files(folder, *names: str) -> list[str]:
    """Makes empty files and returns their paths."""
    for name in names:
        (folder / name).write_bytes(b"")
    return [str(folder / name) for name in names]


def test_a_folder_has_its_tars_in_the_order_of_their_names(tmp_path):
    paths = files(tmp_path, "a-1.tar", "a-2.tar", "b.tar")
    files(tmp_path, "readme.txt", "b.tar.part")
    assert split_paths(str(tmp_path), None, None) == {"train": paths}
    assert split_paths([str(tmp_path)], None, None) == {"train": paths}
    assert split_paths(f"{tmp_path}/a-*.tar", None, None) == {"train": paths[:2]}


def test_the_names_of_files_in_a_folder_give_the_splits(tmp_path):
    train, val, test = (files(tmp_path, f"{name}-0.tar", f"{name}-1.tar") for name in ("train", "val", "test"))
    assert split_paths(str(tmp_path), None, None) == {"train": train, "val": val, "test": test}
    assert split_paths(f"{tmp_path}/train-{{0..1}}.tar", val, None) == {"train": train, "val": val}
    assert split_paths(train, None, None) == {"train": train}


@pytest.mark.parametrize(
    ("root", "val", "message"),
    [
        ("{folder}/a-{0..2}.tar", None, "data.root={folder}/a-{0..2}.tar: {folder}/a-2.tar does not exist"),
        ("{folder}/none", None, "data.root={folder}/none: {folder}/none does not exist"),
        ("{folder}/empty", None, "data.root={folder}/empty: the folder {folder}/empty has no .tar file"),
        ("{folder}/a-{0..1.tar", None, "data.root={folder}/a-{0..1.tar has a brace that is not closed"),
        ("{folder}/{0..99999999}.tar", None, "has a range of more than 10,000,000 numbers"),
        ("s3://bucket/{0..9}.tar", None, "data.root=s3://bucket/{0..9}.tar is not a local path"),
        ("pipe:cat a.tar", None, "data.root=pipe:cat a.tar is not a local path"),
        (["{folder}/a-0.tar"] * 2, None, "data.root names the shard {folder}/a-0.tar twice"),
        ([], None, "data.root=[] names no shards"),
        (3, None, "data.root=3 names no shards"),
        ("{folder}", "{folder}/a-0.tar", "data.val: the shard {folder}/a-0.tar is also one of the others"),
        ("{folder}/packed", None, "the shard {folder}/packed/a.tar.gz is compressed"),
    ],
)
def test_what_names_no_shards_is_refused(root, val, message, tmp_path):
    files(tmp_path, "a-0.tar", "a-1.tar")
    for name in ("empty", "packed"):
        (tmp_path / name).mkdir()
    files(tmp_path / "packed", "a.tar.gz")

    def filled(text):
        return text.replace("{folder}", str(tmp_path)) if isinstance(text, str) else text

    root = list(map(filled, root)) if isinstance(root, list) else filled(root)
    with pytest.raises(ConfigError) as error:
        split_paths(root, filled(val), None)
    assert filled(message) in str(error.value)
    assert "; allowed: " in str(error.value)
    assert len(str(error.value).splitlines()) <= 2
