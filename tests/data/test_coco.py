"""The source of a COCO folder that the test writes, with pictures of emoji."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from PIL import Image

from model.data.coco import Coco
from model.data.coco_files import coco_parts
from model.data.emoji_drawing import draw_character, open_font
from model.data.fonts import find_font
from model.data.source import SplitSizes, split_ranges
from model.data.squares import CLIP_PIXELS, centre_square
from model.errors import ConfigError
from tests.data.helpers import needs_font, small_data

pytestmark = needs_font
CHARACTERS = "🐙🍎🐝🌵🚲🎈⚓🔑🍄🐢🎸🏀"
CATEGORIES = [{"id": 7, "name": "animal"}, {"id": 3, "name": "thing"}]


def write_part(root, name: str, count: int, *, instances: bool = True, first: int = 0) -> None:
    """Writes `count` images with 5 or 6 captions each, the first with 4. Their numbers descend in the file. Every
    fourth image has no instances.
    """
    font = open_font(find_font(None))
    (root / name).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, captions, objects = [], [], []
    for i in range(first, first + count):
        picture = Image.new("RGB", (160, 128), (255, 255, i))
        picture.paste(draw_character(font, CHARACTERS[i % len(CHARACTERS)]).convert("RGB"), (12, 0))
        picture.save(root / name / f"{i:012}.jpg", quality=95)
        images.append({"id": 100 + i, "file_name": f"{i:012}.jpg", "height": 128, "width": 160})
        captions += [
            {"image_id": 100 + i, "id": 1000 + 10 * i + k, "caption": f"picture {i}\n caption  {k} "}
            for k in range(5 + i % 2)
        ]
        if i % 4:
            objects += [{"image_id": 100 + i, "id": 2 * i, "area": 50.0, "category_id": 3}]
            objects += [{"image_id": 100 + i, "id": 2 * i + 1, "area": 40.0 + 20 * (i % 2), "category_id": 7}]
    captions = [note for note in captions if note["image_id"] != 100 + first or note["id"] % 10 < 4]
    (root / "annotations" / f"captions_{name}.json").write_text(
        json.dumps({"images": images[::-1], "annotations": captions[::-1]})
    )
    if instances:
        (root / "annotations" / f"instances_{name}.json").write_text(
            json.dumps({"images": images, "annotations": objects, "categories": CATEGORIES})
        )


@pytest.fixture
def folder(tmp_path):
    """Eleven usable training images, eight for val and test."""
    write_part(tmp_path, "train2017", 12)
    write_part(tmp_path, "val2017", 9, first=20)
    return tmp_path


def make(folder, year="2017", captions=5, image_size=32, **sizes) -> Coco:
    """Returns the source, with the options that a test changes."""
    sizes = SplitSizes(**({"train": None, "val": 4, "test": 3} | sizes))
    return Coco(coco_parts(str(folder), year), sizes, captions=captions, image_size=image_size)


def first_captions(source: Coco, split: str) -> list[str]:
    """Returns the first caption of each row, which names the image."""
    return [texts[0] for texts in source.texts(split, range(source.size(split)))]


def test_splits_and_captions(folder):
    source = make(folder)
    assert first_captions(source, "train") == [f"picture {i} caption 0" for i in range(1, 12)]
    assert first_captions(source, "val") == [f"picture {i} caption 0" for i in range(21, 25)]
    assert first_captions(source, "test") == [f"picture {i} caption 0" for i in range(25, 28)]
    assert source.texts("val", [2]) == [[f"picture 23 caption {k}" for k in range(5)]]


def test_a_smaller_number_of_captions_leaves_out_fewer_images(folder):
    assert make(folder, captions=4).size("train") == 12


def test_labels_are_those_of_the_largest_instance(folder):
    source = make(folder)
    assert source.class_names == ("thing", "animal")
    assert [prompts[:2] for prompts in source.prompts] == [
        ("a photo of a thing", "a thing"),
        ("a photo of an animal", "an animal"),
    ]
    # Images 1, 3: the animal has area 60, the thing 50; image 2: 40 and 50; image 4 has none.
    assert source.labels("train", range(4)).tolist() == [1, 0, 1, -1]


def test_without_instances_there_are_no_labels(tmp_path):
    write_part(tmp_path, "train2014", 6, instances=False)
    write_part(tmp_path, "val2014", 9, instances=False)
    source = make(tmp_path, "2014")
    assert source.class_names is source.prompts is None
    assert source.labels("train", [0]) is None
    assert next(iter(small_data(source).val_dataloader())).labels is None


def test_pictures_are_scaled_and_cropped_to_the_middle():
    """The picture is twice as wide as high: a third red, green and blue each. The result has the middle half."""
    image = Image.new("RGB", (120, 60), (0, 255, 0))
    image.paste((255, 0, 0), (0, 0, 40, 60))
    image.paste((0, 0, 255), (80, 0, 120, 60))
    square = centre_square(image, 30)
    assert square.size == (30, 30)
    assert [square.getpixel((x, 15)) for x in (1, 15, 28)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert square.getpixel((3, 15))[0] > 200
    assert square.getpixel((7, 15))[1] > 200


@pytest.mark.parametrize("size", [(7, 300), (300, 7), (32, 32), (31, 500)])
def test_any_proportion_gives_a_square(size):
    assert centre_square(Image.new("RGB", size), 32).size == (32, 32)


def test_batches_have_the_mean_and_deviation_of_clip(folder):
    source = make(folder)
    batch = next(iter(small_data(source).val_dataloader()))
    mean, deviation = (torch.tensor(values)[:, None, None] for values in CLIP_PIXELS)
    torch.testing.assert_close(batch.images, (source.images("val", range(4)) / 255 - mean) / deviation)


@pytest.mark.parametrize("broken", ["text", "truncated", "empty", "missing"])
def test_an_unreadable_image_is_left_out_counted_and_named(folder, broken, caplog):
    file = folder / "train2017" / f"{5:012}.jpg"
    content = {"text": b"not a picture", "truncated": file.read_bytes()[:-400], "empty": b""}.get(broken)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        source = make(folder)
    assert first_captions(source, "train") == [f"picture {i} caption 0" for i in range(1, 12) if i != 5]
    reason = {
        "text": "has no known picture format; allowed: JPEG, PNG, WebP, GIF, BMP, TIFF",
        "truncated": "is damaged (image file is truncated ",
        "empty": "is empty",
        "missing": "cannot be opened (No such file or directory)",
    }
    messages = [record.getMessage() for record in caplog.records if "because of its file" in record.getMessage()]
    assert len(messages) == 1
    assert messages[0].startswith(
        f"train2017: 1 image is left out because of its file: 000000000005.jpg {reason[broken]}"
    )
    assert len(source.images("train", range(10))) == 10


def test_grey_and_transparent_files_are_read(folder):
    Image.new("L", (40, 50), 128).save(folder / "train2017" / f"{3:012}.jpg")
    Image.new("RGBA", (40, 50), (9, 9, 9, 0)).save(folder / "train2017" / f"{4:012}.jpg", format="PNG")
    pictures = make(folder).images("train", [2, 3])
    assert pictures.shape == (2, 3, 32, 32)
    assert (pictures[0] - 128).abs().max() <= 1


@pytest.mark.parametrize(("key", "size", "most"), [("train", 12, 11), ("val", 8, 7), ("test", 5, 4)])
def test_more_than_there_are_is_refused(folder, key, size, most):
    with pytest.raises(
        ConfigError, match=rf"data\.{key}_size={size} is more than there are; allowed: up to {most} images"
    ):
        make(folder, **{key: size})


def test_more_captions_than_any_image_has_is_refused(folder):
    """The message names data.captions, not the number of images, which would be 0."""
    with pytest.raises(ConfigError, match=r"^data\.captions=9 is more than any image of val2017 has; allowed: 1 to 6$"):
        make(folder, captions=9)


def test_a_folder_without_a_readable_image_is_refused(folder):
    for file in (folder / "val2017").iterdir():
        file.unlink()
    reason = r"no image of .*val2017 can be read \(0+21\.jpg cannot be opened \(.*\)\)"
    with pytest.raises(
        ConfigError, match=rf"{reason}; allowed: a folder with the images that .*captions_val2017\.json"
    ):
        make(folder)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_count_too_small_for_any_split_is_refused(count):
    with pytest.raises(ConfigError) as error:
        split_ranges(count, SplitSizes(None, 1, 1), "pictures")
    assert (
        str(error.value)
        == "data.val_size=1 is more than there are; allowed: more pictures, as there are too few for any value"
    )


def test_missing_files_are_named(folder):
    for file in (
        folder / "annotations" / "captions_val2017.json",
        folder / "annotations" / "captions_train2017.json",
    ):
        file.unlink()
        with pytest.raises(ConfigError) as error:
            coco_parts(str(folder), "2017")
        assert str(file) in str(error.value)
    with pytest.raises(ConfigError, match=r"data\.root=.*captions_train2014\.json.*allowed"):
        coco_parts(str(folder), "2014")
