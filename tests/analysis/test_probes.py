"""Probes, zero-shot classification and token figures on cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from model.analysis.probes import probe
from model.analysis.tokens import token_figures, token_names
from model.analysis.zero_shot import class_features, majority, zero_shot_hits
from tests.data.helpers import small_data


def blobs(size: int, seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Well separated clouds, one a class; class 0 holds half the rows. Feature lengths differ by 1,000."""
    random = np.random.default_rng(seed)
    labels = np.where(np.arange(size) % 2 == 0, 0, 1 + np.arange(size) // 2 % (classes - 1))
    features = np.eye(classes)[labels] * 8 + random.normal(size=(size, classes))
    return (features * np.array([1.0, 1000.0, 0.001])[:classes]).astype(np.float32), labels


def test_separable_classes_are_predicted_on_another_split():
    figures = probe(*blobs(120, 0), *blobs(60, 1))
    assert figures["samples"] == [120, 60]
    assert figures["accuracy"] > 0.97
    assert figures["majority"] == 0.5


def test_noise_is_predicted_at_chance_on_another_split():
    """40 samples of 60 features of noise: the fit is perfect, and predictions of other samples are at chance."""
    random = np.random.default_rng(0)
    fit, labels = random.normal(size=(40, 60)), np.arange(40) % 4
    figures = probe(fit, labels, random.normal(size=(2000, 60)), np.arange(2000) % 4)
    assert probe(fit, labels, fit, labels)["accuracy"] > 0.95
    assert figures["accuracy"] == pytest.approx(0.25, abs=0.05)


def test_the_baseline_is_the_fitted_split_s_most_frequent_class():
    fit, labels = blobs(20, 0)
    assert probe(fit, labels, fit[:4], np.array([1, 1, 1, 0]))["majority"] == 0.25


def test_rows_without_a_class_or_finite_features_are_left_out():
    fit, labels = blobs(60, 0)
    labels[3], fit[4, 0] = -1, np.nan
    score, truth = blobs(10, 1)
    truth[:2] = -1
    figures = probe(fit, labels, score, truth)
    assert figures["samples"] == [58, 8]
    assert figures["accuracy"] > 0.9


@pytest.mark.parametrize("labels", [[2, 2, 2, 2], [-1, -1, -1, -1], [-1, 0, -1, 0]])
def test_fewer_than_two_classes_are_no_probe(labels):
    fit = np.eye(4)
    assert probe(fit, np.array(labels), fit, np.arange(4)) is None
    assert probe(fit, np.arange(4), fit, np.full(4, -1)) is None


def test_a_class_is_the_mean_direction_of_its_prompts():
    """A long prompt counts no more than a short one."""
    classes = class_features([torch.tensor([[100.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, -3.0]])])
    torch.testing.assert_close(classes, torch.tensor([[math.sqrt(0.5), math.sqrt(0.5)], [0.0, -1.0]]))


def test_zero_shot_by_hand():
    """One image at its class, one between two classes (a tie), one opposite to its class."""
    classes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    images = torch.tensor([[5.0, 1.0], [1.0, 1.0], [3.0, 0.0]])
    labels = torch.tensor([0, 1, 2])
    assert zero_shot_hits(images, classes, labels, 1).tolist() == [1, 0.5, 0]
    assert zero_shot_hits(images, classes, labels, 2).tolist() == [1, 1, 0]
    assert majority(torch.tensor([4, 4, 1])) == pytest.approx(2 / 3)


def test_tokens_by_hand():
    """Mean (1, 0): cosines 1, 0.6, -1 and lengths 4, 5, 1."""
    embedding = torch.tensor([[4.0, 0.0], [-1.0, 0.0], [3.0, 4.0], [-2.0, -4.0]])
    figures = token_figures(embedding, ["far", "opposite", "above", "below"], count=2)
    assert figures["norm"] == pytest.approx(
        {"mean": (4 + 1 + 5 + math.sqrt(20)) / 4, "min": 1, "max": 5, "std": np.std([4, 1, 5, math.sqrt(20)])}
    )
    assert [name for name, _ in figures["central"]] == ["far", "above"]
    assert [name for name, _ in figures["furthest"]] == ["opposite", "below"]
    assert [cosine for _, cosine in figures["central"]] == pytest.approx([1, 0.6])
    assert [cosine for _, cosine in figures["furthest"]] == pytest.approx([-1, -2 / math.sqrt(20)])


def test_token_names_are_text():
    tokenizer = small_data().tokenizer
    names = token_names(tokenizer, len(tokenizer))
    assert len(names) == len(tokenizer)
    assert " circle" in names
    assert all(name.strip() for name in names)
