"""Random changes of training pictures: which numbers they draw, and that these depend on seed, epoch and row alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from model.data.squares import file_at, read_squares
from model.data.transforms import Transforms, changes_pictures
from tests.conftest import compose_run
from tests.data.helpers import small_data, small_scenes

ROWS = np.arange(2000)
# One key of each change.
CHANGES = {
    "crop_scale": "[0.3,0.9]",
    "flip": "0.5",
    "shift": "0.2",
    "rotate": "20",
    "zoom": "0.3",
    "brightness": "0.4",
    "contrast": "0.4",
    "saturation": "0.4",
    "hue": "0.2",
    "grey": "0.5",
    "tint": "0.5",
    "blur": "0.5",
}


def transforms(*overrides: str, seed: int = 0) -> Transforms:
    """Returns the changes of these overrides."""
    return Transforms(compose_run(*overrides).data.transforms, seed)


def everything(seed: int = 0) -> Transforms:
    """Returns all changes together."""
    return transforms(*(f"data.transforms.{key}={value}" for key, value in CHANGES.items()), seed=seed)


def flat(level: float, rows: int = len(ROWS)) -> torch.Tensor:
    """Returns pictures of one grey, (B, 3, 2, 2) uint8."""
    return torch.full((rows, 3, 2, 2), level).to(torch.uint8)


def uniform_distance(values: torch.Tensor, least: float, most: float) -> float:
    """Returns the Kolmogorov-Smirnov distance to the uniform distribution, as a multiple of the 1 % critical value."""
    steps = (torch.arange(len(values)) + 0.5) / len(values)
    distance = ((values.double().sort().values - least) / (most - least) - steps).abs().max()
    return float(distance) / (1.63 / len(values) ** 0.5)


def test_brightness_and_tint_draw_uniform_factors():
    brighter = transforms("data.transforms.brightness=0.4").change(flat(100), 0, ROWS)[:, 0, 0, 0]
    assert uniform_distance(brighter, 60, 140) < 1
    tinted = transforms("data.transforms.tint=0.5").change(flat(200), 0, ROWS)[:, :, 0, 0]
    for colour in tinted.T:
        assert uniform_distance(colour, 100, 200) < 1
    assert np.abs(np.corrcoef(tinted.T.numpy()) - np.eye(3)).max() < 0.08


@pytest.mark.parametrize("key", ["flip", "grey", "blur"])
def test_a_probability_is_the_share_of_changed_pictures(key):
    pictures = torch.randint(0, 256, (2000, 3, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    changed = transforms(f"data.transforms.{key}=0.3").change(pictures, 0, ROWS)
    share = (changed != pictures).flatten(1).any(1).double().mean()
    assert abs(share - 0.3) < 3 * (0.3 * 0.7 / 2000) ** 0.5


def test_one_change_does_not_change_the_numbers_of_another():
    alone = transforms("data.transforms.brightness=0.4").change(flat(100), 1, ROWS)
    with_others = transforms(
        "data.transforms.brightness=0.4", "data.transforms.flip=0.5", "data.transforms.shift=0.2"
    ).change(flat(100), 1, ROWS)
    torch.testing.assert_close(alone, with_others)


def test_a_row_depends_on_seed_epoch_and_row_alone():
    source = small_scenes(60)
    rows = list(range(60))
    pictures, changes = source.images("train", rows), everything()
    whole = changes.change(pictures, 2, np.array(rows))
    for part in ([7], [30, 3, 59], rows[::-1]):
        assert torch.equal(changes.change(pictures[part], 2, np.array(part)), whole[part])
        crops = changes.crops(2, np.array(rows))
        assert changes.crops(2, np.array(part)) == [crops[row] for row in part]
    assert torch.equal(everything().change(pictures, 2, np.array(rows)), whole)
    for other in (everything(1).change(pictures, 2, np.array(rows)), changes.change(pictures, 3, np.array(rows))):
        assert (other != whole).flatten(1).any(1).all()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    assert torch.equal(changes.change(pictures, 2, np.array(rows)), whole)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers_or_on_resumption(workers):
    """Compares the batches of a second epoch with those of a loader that resumes in the middle of it."""
    loader = small_data(transforms=everything(), num_workers=0).train_dataloader()
    expected = [*loader, *loader]
    assert len(expected) == 10
    resumed = small_data(transforms=everything(), num_workers=workers).train_dataloader()
    resumed.load_state_dict({"epoch": 1, "taken": 2})
    for batch, other in zip(expected[7:], resumed, strict=True):
        assert torch.equal(batch.indices, other.indices)
        assert torch.equal(batch.images, other.images)
        assert torch.equal(batch.captions, other.captions)


def test_only_training_pictures_are_changed():
    changed, plain = small_data(transforms=everything()), small_data()
    for split in ("train", "val"):
        for batch, other in zip(changed.eval_dataloader(split), plain.eval_dataloader(split), strict=True):
            assert torch.equal(batch.images, other.images)
    (batch, *_), (other, *_) = changed.train_dataloader(), plain.train_dataloader()
    assert not torch.equal(batch.images, other.images)


@pytest.mark.parametrize("key", CHANGES)
def test_each_key_asks_for_a_change(key):
    assert not changes_pictures(compose_run().data.transforms)
    changes = transforms(f"data.transforms.{key}={CHANGES[key]}")
    assert changes_pictures(changes.config)
    pictures = small_scenes(8).images("train", range(8))
    same = changes.crops(0, np.arange(8)) is None and torch.equal(changes.change(pictures, 0, np.arange(8)), pictures)
    assert not same


def test_two_processes_see_the_rows_that_one_process_sees():
    """A row of the batch of two processes has the same picture as in the batch of one process."""
    (one, *_) = small_data(transforms=everything(), batch_size=8).train_dataloader()
    for rank in (0, 1):
        data = small_data(transforms=everything())
        data._process = lambda rank=rank: (rank, 2)
        (half, *_) = data.train_dataloader()
        assert torch.equal(half.indices, one.indices[4 * rank : 4 * rank + 4])
        assert torch.equal(half.images, one.images[4 * rank : 4 * rank + 4])


def test_noise_of_a_file_stays_within_its_range(tmp_path):
    """A photograph with all changes stays within 0 to 255."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    files, changes = [file_at(str(tmp_path / "a.png"))] * 50, everything()
    squares = read_squares(files, 24, changes.crops(0, np.arange(50)))
    changed = changes.change(squares, 0, np.arange(50))
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert changed.isfinite().all()
