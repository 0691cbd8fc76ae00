"""Scenes: captions are true for the pictures, splits are disjoint, and rows do not depend on their batch."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from tests.data import caption_checks
from tests.data.helpers import small_data, small_scenes

SPLITS = ("train", "val", "test")
HUES = {
    "red": (-15, 15),
    "orange": (15, 40),
    "yellow": (42, 65),
    "green": (100, 160),
    "cyan": (170, 200),
    "blue": (215, 250),
    "purple": (265, 305),
}


@pytest.mark.parametrize("slot", range(5))
def test_captions_are_true_for_their_scene_and_rarely_for_another(slot):
    source, check = small_scenes(400, 400, 10), caption_checks.CHECKS[slot]
    for split in ("train", "val"):
        texts = [captions[slot] for captions in source.texts(split, range(400))]
        scenes = [caption_checks.scene(source.objects(split, index)) for index in range(400)]
        assert [text for text, objects in zip(texts, scenes, strict=True) if not check(text, objects)] == []
        # The check can fail: the caption of the next scene is seldom true.
        assert (
            sum(check(text, objects) for text, objects in zip(texts[1:], scenes, strict=False) if len(objects) > 1) < 20
        )


def test_five_captions_are_worded_differently():
    texts = small_scenes(300).texts("train", range(300))
    assert all(len(set(captions)) == 5 for captions in texts)


def test_val_captions_never_change():
    """Figures of different runs, machines and versions refer to the same 1,000 scenes."""
    assert small_scenes().texts("val", [2])[0] == [
        "bottom middle has a red circle, bottom right has a white circle",
        "a small white circle and a large red circle, two in total",
        "something red bottom middle and something white bottom right",
        "red circle to the left of white circle",
        "one big and one little: circle circle",
    ]


def colour_name(pixel: np.ndarray) -> str:
    """Returns the name of a colour, from its hue."""
    hue, saturation, _ = colorsys.rgb_to_hsv(*(pixel / 255))
    degrees = 360 * hue - (360 if hue > 0.9 else 0)
    return (
        "white"
        if saturation < 0.25
        else next((name for name, (low, high) in HUES.items() if low <= degrees < high), f"hue {degrees:.0f}")
    )


@pytest.mark.parametrize("image_size", [32, 48, 64])
def test_pictures_agree_with_the_captions(image_size):
    """Checks the pixels: which cells contain an object, its colour, its size, and for some shapes the shape."""
    source, cell = small_scenes(10, 60, 10, image_size=image_size), image_size / 3
    pictures = source.images("val", range(60)).permute(0, 2, 3, 1).numpy().astype(float)
    for index, picture in enumerate(pictures):
        objects = {o["place"]: o for o in caption_checks.scene(source.objects("val", index))}
        values, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
        marked = np.abs(picture - values[counts.argmax()]).max(axis=2) > 60
        for place in caption_checks.PLACES.values():
            rows, columns = (slice(round(i * cell), round((i + 1) * cell)) for i in place)
            inside = marked[rows, columns]
            assert inside.any() == (place in objects)
            if place in objects:
                check_object(objects[place], inside, picture[rows, columns][inside], cell)


def check_object(expected: dict, inside: np.ndarray, pixels: np.ndarray, cell: float) -> None:
    """Checks the colour of the brightest pixels, the extent and the proportions of one object."""
    strongest = pixels[np.argsort(pixels.max(axis=1))[-5:]].mean(axis=0)
    assert colour_name(strongest) == expected["colour"]
    height, width = (
        np.flatnonzero(inside.any(axis=axis)).max() - np.flatnonzero(inside.any(axis=axis)).min() + 1 for axis in (1, 0)
    )
    assert (max(height, width) > 0.69 * cell) == (expected["size"] == "large")
    if expected["shape"] in ("bar", "pole"):
        assert (width > 1.5 * height, height > 1.5 * width) == (expected["shape"] == "bar", expected["shape"] == "pole")
    else:
        assert 0.6 < width / height < 1.7
        middle = inside[len(inside) // 2, inside.shape[1] // 2]
        assert middle == (expected["shape"] != "ring") or expected["size"] == "small"


def test_matches_counts_the_scenes_for_which_caption_1_is_true():
    source = small_scenes(10, 1500, 10)
    scenes = [
        frozenset((o["colour"], o["shape"], o["place"]) for o in caption_checks.scene(source.objects("val", i)))
        for i in range(1500)
    ]
    expected = [sum(other == scene for other in scenes) for scene in scenes]
    assert max(expected) > 1
    assert source.matches("val").tolist() == expected


def test_no_scene_is_in_two_splits_whatever_the_seed():
    def scenes(source, split):
        return {frozenset(source.objects(split, i)) for i in range(source.size(split))}

    first = small_scenes(3000, 400, 400)
    held_out = scenes(first, "val") | scenes(first, "test")
    assert len(held_out) == 800
    for seed in (0, 1, 2):
        assert not held_out & scenes(small_scenes(3000, 1, 1, seed=seed), "train")


def test_the_seed_changes_training_scenes_only():
    scenes, other = small_scenes(seed=1), small_scenes(seed=2)
    for split in SPLITS:
        rows = range(scenes.size(split))
        same = split != "train"
        assert torch.equal(scenes.images(split, rows), other.images(split, rows)) == same
        assert (scenes.texts(split, rows) == other.texts(split, rows)) == same


def test_a_smaller_split_is_the_beginning_of_a_larger_one():
    small, large = small_scenes(20, 30, 10), small_scenes(50, 400, 10)
    assert small.texts("val", range(30)) == large.texts("val", range(30))
    assert small.texts("train", range(20)) == large.texts("train", range(20))


def test_a_row_does_not_depend_on_its_batch():
    source = small_scenes()
    together = source.images("train", [5, 3, 17])
    assert torch.equal(together[1:2], source.images("train", [3]))
    assert source.texts("train", [5, 3])[1:] == source.texts("train", [3])


def test_labels_name_the_first_object():
    source = small_scenes()
    names = [source.class_names[label] for label in source.labels("val", range(9))]
    assert names == [source.objects("val", i)[0].shape for i in range(9)]


def test_captions_are_short():
    source = small_scenes(2000)
    texts = [text for captions in source.texts("train", range(2000)) for text in captions]
    encoded = small_data(source).tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert max(len(ids) for ids in encoded) + 2 <= 24
