"""The division of samples by the content of their pictures."""

from __future__ import annotations

import numpy as np

from model.data.content_split import split_by_content


def digests(*numbers: int) -> np.ndarray:
    """Returns (N, 16) random bytes, the same for the same number."""
    rows = [np.random.default_rng(number).integers(0, 256, 16, dtype=np.uint8) for number in numbers]
    return np.array(rows, np.uint8).reshape(-1, 16)


def test_every_sample_is_in_one_split_and_train_keeps_the_order():
    splits = split_by_content(digests(*range(50)), 0, {"val": 7, "test": 9})
    assert [len(splits[split]) for split in ("val", "test", "train")] == [7, 9, 34]
    assert sorted(np.concatenate(list(splits.values()))) == list(range(50))
    assert list(splits["train"]) == sorted(splits["train"])


def test_the_order_of_the_samples_changes_nothing():
    order = np.random.default_rng(5).permutation(50)
    one, two = (split_by_content(digests(*numbers), 0, {"val": 7, "test": 9}) for numbers in (range(50), order))
    for split in ("val", "test"):
        assert list(one[split]) == list(order[two[split]])


def test_a_smaller_split_has_the_first_samples_of_a_larger_one_and_another_seed_others():
    large = split_by_content(digests(*range(50)), 0, {"val": 20})["val"]
    assert list(split_by_content(digests(*range(50)), 0, {"val": 5})["val"]) == list(large[:5])
    assert set(split_by_content(digests(*range(50)), 1, {"val": 20})["val"]) != set(large)


def test_a_further_sample_moves_at_most_one_sample_out_of_each_split():
    before = split_by_content(digests(*range(50)), 0, {"val": 10, "test": 10})
    for further in range(50, 70):
        after = split_by_content(digests(*range(50), further), 0, {"val": 10, "test": 10})
        for split in ("val", "test"):
            assert len(set(before[split]) - set(after[split])) <= 1


def test_copies_stay_together_and_sizes_are_kept():
    numbers = [number % 20 for number in range(60)]  # three copies of each
    splits = split_by_content(digests(*numbers), 0, {"val": 6, "test": 9})
    assert [len(splits[split]) for split in ("val", "test")] == [6, 9]
    owners = [{numbers[row] for row in rows} for rows in splits.values()]
    assert sum(map(len, owners)) == 20


def test_a_picture_with_more_copies_than_the_split_has_rows_is_passed_over():
    splits = split_by_content(digests(1, 1, 1, 1, 2, 3, 4), 0, {"val": 3})
    assert sorted(splits["val"]) == [4, 5, 6]
    assert list(split_by_content(digests(1, 1), 0, {"val": 1})["val"]) == []
    assert list(split_by_content(digests(), 0, {"val": 0})["train"]) == []
