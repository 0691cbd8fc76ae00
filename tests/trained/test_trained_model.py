"""The features and scores of a loaded model are those of its run, and wrong input is named."""

from __future__ import annotations

import logging

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from model import load
from model.errors import ConfigError
from model.trained.pictures import PicturesNotReadable


def test_views_are_those_of_the_run_s_own_evaluation(trained, trained_run):
    views = trained.encode_views(trained_run.pictures(), trained_run.captions(), batch_size=7)
    assert trained.names == ("image", "caption_1", "decoded_2", "encoded_2")
    assert views.dtype == torch.float32
    torch.testing.assert_close(views, trained_run.test_views, rtol=1e-5, atol=1e-6)


def test_features_have_length_one_and_are_two_of_these_views(trained, trained_run, picture_folder):
    image, caption = F.normalize(trained_run.test_views[:2], dim=-1)
    files = sorted(picture_folder.iterdir())
    torch.testing.assert_close(trained.encode_images(files, batch_size=6), image, rtol=1e-5, atol=1e-6)
    texts = [f" {row[0].replace(' ', chr(10))} " for row in trained_run.captions()]
    torch.testing.assert_close(trained.encode_texts(texts, batch_size=6), caption, rtol=1e-5, atol=1e-6)


def normsv5(views: torch.Tensor) -> torch.Tensor:
    """sum_k x_k.R_k / (|R_k| + eps) of a tuple, R_k the sum of its other rows, in float64. views: (n, D)."""
    rows = F.normalize(views.double(), dim=-1)
    rests = rows.sum(dim=0) - rows
    return sum(row @ rest / (rest.norm() + 1e-8) for row, rest in zip(rows, rests, strict=True))


def test_scores_are_those_of_the_formula(trained, trained_run):
    views = trained_run.test_views
    matched = torch.stack([normsv5(views[:, row]) for row in range(views.shape[1])])
    torch.testing.assert_close(trained.score(views).double(), matched, rtol=1e-5, atol=1e-6)
    matrix = trained.score_matrix(views, view="decoded_2")
    assert matrix.shape == (20, 20)
    for sample, candidate in ((0, 0), (3, 11), (19, 2)):
        mixed = views[:, sample].clone()
        mixed[2] = views[2, candidate]
        assert float(matrix[sample, candidate]) == pytest.approx(float(normsv5(mixed)), abs=1e-5)


def test_pictures_and_captions_are_scored_as_their_views(trained, trained_run):
    pictures, captions = trained_run.pictures()[:3], trained_run.captions()[:3]
    torch.testing.assert_close(trained.score(pictures, captions), trained.score(trained_run.test_views)[:3])
    assert trained.score_matrix(pictures, captions).shape == (3, 3)


def test_many_samples_are_scored_in_blocks(trained, trained_run):
    """70 samples are more than a block."""
    views = trained_run.test_views[:, torch.arange(70) % 20]
    torch.testing.assert_close(trained.score(views), trained.score(trained_run.test_views)[torch.arange(70) % 20])


def test_nothing_given_is_nothing_returned(trained):
    assert trained.encode_images([]).shape == trained.encode_texts([]).shape == (0, trained.features)
    assert trained.encode_views([], []).shape == (4, 0, trained.features)
    assert trained.score([], []).shape == (0,)
    assert trained.score_matrix([], []).shape == (0, 0)


def test_the_scale_and_the_settings_are_those_of_the_checkpoint(trained, trained_run):
    weights = torch.load(trained_run.folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert trained.logit_scale == pytest.approx(float(weights["logit_scale"].exp()))
    assert trained.logit_bias is None
    assert (trained.captions, trained.image_size, trained.context_length) == (2, 48, 24)


def test_float64_differs_from_float32_by_rounding_only(trained_run):
    features = load(trained_run.folder, dtype="float64").encode_images(trained_run.pictures())
    assert features.dtype == torch.float64
    torch.testing.assert_close(features.float(), F.normalize(trained_run.test_views[0], dim=-1), rtol=1e-5, atol=1e-6)


def test_no_result_has_a_gradient_and_no_random_number_is_drawn(trained_run):
    before = torch.get_rng_state()
    model = load(str(trained_run.folder))
    assert not model.encode_texts(["a"]).requires_grad
    assert not model.encoder.training
    assert torch.equal(torch.get_rng_state(), before)


def test_unreadable_pictures_are_named(trained, picture_folder, tmp_path):
    good, broken = sorted(picture_folder.iterdir())[0], tmp_path / "broken.png"
    broken.write_bytes(good.read_bytes()[:60])
    with pytest.raises(PicturesNotReadable, match=r"broken\.png .*and 1 more") as caught:
        trained.encode_images([good, broken, tmp_path / "missing.png"])
    assert list(caught.value.reasons) == [1, 2]
    with pytest.raises(ValueError, match="picture 1 has floating-point pixels"):
        trained.encode_images([Image.new("RGB", (9, 9)), Image.new("F", (9, 9), 7)])


def test_other_wrong_input_is_refused(trained, trained_run):
    pictures, captions = trained_run.pictures()[:2], trained_run.captions()[:2]
    with pytest.raises(ConfigError, match=r"view=caption_2 is not known; allowed: image, caption_1"):
        trained.score_matrix(trained_run.test_views, view="caption_2")
    with pytest.raises(ValueError, match=r"captions\[1\]: 1 captions given; accepted: 2"):
        trained.encode_views(pictures, [captions[0], captions[1][:1]])
    with pytest.raises(ValueError, match="captions: 1 rows given; accepted: 2"):
        trained.encode_views(pictures, captions[:1])
    with pytest.raises(ValueError, match="captions: none given"):
        trained.score(pictures)
    with pytest.raises(ValueError, match=r"views: shape \(3, 20, 16\) given; accepted: \(4, N, D\)"):
        trained.score(trained_run.test_views[:3])
    with pytest.raises(TypeError, match="one text given"):
        trained.encode_texts("a red circle")
    with pytest.raises(TypeError, match="a picture of type int"):
        trained.encode_images([3])
    with pytest.raises(ValueError, match=r"images: shape \(2, 3, 32, 32\)"):
        trained.encode_images(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ValueError, match="batch_size=0 given"):
        trained.encode_texts(["a"], batch_size=0)


def test_the_first_truncated_text_is_reported(trained_run, caplog):
    model = load(trained_run.folder)
    fits = "a" * 20
    with caplog.at_level(logging.WARNING):
        model.encode_texts([fits])
        assert caplog.messages == []
        long, longer = model.encode_texts(["red " * 40, "red " * 60])
        model.encode_texts(["red " * 50])
    assert len(caplog.messages) == 1
    assert "texts of more than 24 tokens are truncated" in caplog.text
    torch.testing.assert_close(long, longer)
