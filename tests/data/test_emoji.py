"""The source of emoji: pictures from the font, names from the package, variation in training only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.data import make_source
from model.data.emoji import Emoji
from model.data.fonts import find_font
from model.data.source import SourceOptions, SplitSizes
from model.data.transforms import Transforms
from model.errors import ConfigError
from tests.conftest import compose_run
from tests.data.helpers import needs_font, small_data

pytestmark = needs_font
SIZES = SplitSizes(None, 200, 200)
SPLITS = ("train", "val", "test")
PRESET = compose_run("data=emoji").data.transforms


def make(languages=("en", "es", "fr", "de", "zh"), sizes=SIZES, *, image_size=32) -> Emoji:
    """Returns the source, with the options that a test changes."""
    return Emoji(find_font(None), list(languages), sizes, image_size=image_size)


@pytest.fixture(scope="module")
def source() -> Emoji:
    """Returns the source with the default options."""
    return make()


def row_of(source: Emoji, character: str) -> tuple[str, int]:
    """Returns the split and the row of an emoji."""
    names = {"🐙": "octopus", "🍎": "red apple", "🇨🇦": "Canada"}
    return next((s, i) for s in SPLITS for i in range(source.size(s)) if source.texts(s, [i])[0][0] == names[character])


def test_about_1900_in_three_splits(source):
    assert [source.size(split) for split in ("val", "test")] == [200, 200]
    assert 1700 < sum(source.size(split) for split in SPLITS) < 2000


def test_names_in_five_languages(source):
    split, index = row_of(source, "🐙")
    assert source.texts(split, [index]) == [["octopus", "pulpo", "pieuvre", "oktopus", "章鱼"]]
    texts = [text for split in SPLITS for names in source.texts(split, range(source.size(split))) for text in names]
    assert not any(set(":_") & set(text) or text != text.strip() or not text for text in texts)


def test_splits_share_no_name_and_no_picture(source):
    names = [names[0] for split in SPLITS for names in source.texts(split, range(source.size(split)))]
    pictures = [p.numpy().tobytes() for split in SPLITS for p in source.images(split, range(source.size(split)))]
    assert len(set(names)) == len(names)
    assert len(set(pictures)) > 0.99 * len(pictures)  # a few differ only at full size


def test_no_skin_tone(source):
    assert not any(
        "skin tone" in names[0] for split in SPLITS for names in source.texts(split, range(source.size(split)))
    )


def test_pictures_are_those_of_the_names(source):
    """An apple is mostly red, the flag of Canada red at both sides and white between."""
    (apple,) = source.images(*(lambda at: (at[0], [at[1]]))(row_of(source, "🍎"))).float()
    red, green, blue = apple[:, 12:24, 10:22].mean(dim=(1, 2))
    assert red > 150 > green
    assert red > 2 * blue
    split, index = row_of(source, "🇨🇦")
    flag = source.images(split, [index])[0].float()
    left, right = flag[:, 14:18, 4:7].mean(dim=(1, 2)), flag[:, 14:18, 26:29].mean(dim=(1, 2))
    assert min(left[0], right[0]) > 150 > 90 > max(left[1], right[1])
    assert flag[1, 8:24, 4:28].max() > 230


def test_the_corner_is_white_at_evaluation(source):
    corners = source.images("val", range(50))[:, :, 0, 0]
    assert (corners == 255).float().mean() > 0.95


def varied(source: Emoji, rows: list[int], *, epoch: int = 0, seed: int = 0) -> torch.Tensor:
    """Returns training pictures with the changes of data/transforms=emoji."""
    return Transforms(PRESET, seed).change(source.images("train", rows), epoch, np.array(rows))


def test_training_pictures_follow_seed_and_epoch(source):
    rows = [3, 8, 20]
    first = varied(source, rows)
    assert torch.equal(first, varied(source, rows))
    assert torch.equal(first[1:2], varied(source, [8]))
    assert not torch.equal(first, varied(source, rows, epoch=1))
    assert not torch.equal(first, varied(source, rows, seed=1))


def test_a_varied_picture_resembles_its_own(source):
    """Most of 100 varied pictures are closer to their own picture than to any other."""
    rows = list(range(100))
    pictures = source.images("train", rows).float().flatten(1), varied(source, rows, epoch=4).flatten(1)
    centred = [(x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, keepdim=True) for x in pictures]
    nearest = (centred[1] @ centred[0].T).argmax(dim=1)
    assert (nearest == torch.arange(100)).float().mean() > 0.6


def test_splits_do_not_depend_on_the_seed(source):
    other = make_source(compose_run("data=emoji").data, SourceOptions(32, 9))
    for split in SPLITS:
        assert source.texts(split, range(source.size(split))) == other.texts(split, range(other.size(split)))


def test_evaluation_of_training_rows_uses_unchanged_pictures(source):
    data = small_data(source, transforms=Transforms(PRESET, 0))
    batch = next(iter(data.eval_dataloader("train")))
    torch.testing.assert_close(batch.images, source.images("train", batch.indices.tolist()) / 127.5 - 1)
    changed = next(iter(data.train_dataloader()))
    assert not torch.allclose(changed.images, source.images("train", changed.indices.tolist()) / 127.5 - 1)
    assert batch.labels.tolist() == source.labels("train", batch.indices.tolist()).tolist()


def test_labels_are_unicode_s_groups(source):
    groups = {}
    for split in SPLITS:
        rows = range(source.size(split))
        groups |= {
            texts[0]: source.class_names[label]
            for texts, label in zip(source.texts(split, rows), source.labels(split, rows), strict=True)
        }
    expected = {
        "red apple": "Food & Drink",
        "bicycle": "Travel & Places",
        "dog face": "Animals & Nature",
        "alarm clock": "Travel & Places",
    }
    assert {name: groups[name] for name in expected if name in groups} == {
        name: group for name, group in expected.items() if name in groups
    }
    assert len(expected.keys() & groups.keys()) >= 2


@pytest.mark.parametrize(
    ("key", "size"),
    [
        ("train", 1800),
        pytest.param("val", 1900, marks=pytest.mark.slow),
        pytest.param("test", 1800, marks=pytest.mark.slow),
    ],
)
def test_more_than_there_are_is_refused(key, size):
    with pytest.raises(ConfigError, match=rf"data\.{key}_size={size} is more than there are; allowed: up to \d+ emoji"):
        make(sizes=SIZES._replace(**{key: size}))


def test_a_text_font_is_refused(tmp_path):
    (tmp_path / "NotoColorEmoji.ttf").write_bytes(b"no font")
    with pytest.raises(ConfigError, match=r"data\.root=.*allowed"):
        Emoji(tmp_path / "NotoColorEmoji.ttf", ["en"], SIZES, image_size=32)
