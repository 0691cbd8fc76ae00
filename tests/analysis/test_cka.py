"""CKA, compared with the published estimator in float64, and its properties."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from model.analysis.cka import MinibatchCKA, centred_gram
from model.analysis.layers import image_grams, image_layers, outputs_of, text_grams, text_layers
from model.views.towers import SpecialTokens
from tests.analysis.small import small_towers


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hsic(x: torch.Tensor, y: torch.Tensor) -> float:
    """HSIC_1 of equation 3 in Nguyen et al. 2021, term by term."""
    n = len(x)
    k, l = x @ x.T, y @ y.T  # noqa: E741
    k, l = k - torch.diag(k.diagonal()), l - torch.diag(l.diagonal())  # noqa: E741
    ones = torch.ones(n, dtype=torch.float64)
    first = torch.trace(k @ l)
    second = (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (ones @ k @ l @ ones)
    return ((first + second - third) / (n * (n - 3))).item()


def cka(*batches: tuple[torch.Tensor, torch.Tensor]) -> float:
    """CKA of one layer and another, over batches."""
    sums = MinibatchCKA()
    for x, y in batches:
        sums.add([centred_gram(x)], [centred_gram(y)])
    return sums.result().item()


def test_layers_by_layers_over_batches_equal_the_published_formula():
    sizes, batches = (5, 3, 8), (7, 12, 4)
    data = [[draw(b, d, seed=10 * i + j) for j, d in enumerate(sizes)] for i, b in enumerate(batches)]
    mixed = [[x @ draw(x.shape[1], 6, seed=j) + 0.3 for j, x in enumerate(batch[:2])] for batch in data]
    sums = MinibatchCKA()
    for first, second in zip(data, mixed, strict=True):
        sums.add([centred_gram(x) for x in first], [centred_gram(y) for y in second])
    for i in range(3):
        for j in range(2):
            pairs = [(first[i], second[j]) for first, second in zip(data, mixed, strict=True)]
            cross, left, right = (
                sum(hsic(*pick) for pick in picks)
                for picks in (pairs, [(x, x) for x, _ in pairs], [(y, y) for _, y in pairs])
            )
            assert sums.result()[i, j].item() == pytest.approx(cross / math.sqrt(left * right), abs=1e-12), (i, j)


def test_cka_of_a_layer_with_itself_is_one():
    x, y = draw(20, 6), draw(9, 6, seed=1)
    assert cka((x, x), (y, y)) == pytest.approx(1, abs=1e-12)


def test_invariant_to_orthogonal_maps_scaling_and_shifts():
    x, y = draw(30, 8), draw(30, 5, seed=1) + draw(30, 8)[:, :5]
    turn = torch.linalg.qr(draw(8, 8, seed=2))[0]
    assert cka((100 * x @ turn + 7, y)) == pytest.approx(cka((x, y)), abs=1e-10)
    assert cka((x, x @ turn)) == pytest.approx(1, abs=1e-10)


def test_not_invariant_to_any_linear_map():
    x = draw(200, 4)
    assert cka((x, x * torch.tensor([30.0, 1, 1, 1], dtype=torch.float64))) < 0.9


def test_few_samples_of_independent_features_have_no_similarity():
    """Twelve samples of 40 independent features: the biased CKA is near 1, the mean of the unbiased CKA near 0."""
    pairs = [(draw(12, 40, seed=2 * i), draw(12, 40, seed=2 * i + 1)) for i in range(200)]

    def biased(x: torch.Tensor, y: torch.Tensor) -> float:
        x, y = x - x.mean(0), y - y.mean(0)
        return ((x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())).item()

    assert sum(biased(x, y) for x, y in pairs) / len(pairs) > 0.7
    assert abs(cka(*pairs)) < 0.02


def test_a_layer_with_equal_outputs_has_no_similarity():
    sums = MinibatchCKA()
    sums.add([centred_gram(torch.ones(6, 3)), centred_gram(draw(6, 3))], [centred_gram(draw(6, 3))])
    similarity = sums.result()
    assert math.isnan(similarity[0, 0])
    assert similarity[1, 0].item() == pytest.approx(1)


def test_grams_of_the_layers_of_both_towers():
    tokens = SpecialTokens(begin=1, end=3, pad=0, vocabulary=40)
    towers = small_towers(tokens)
    images = draw(6, 3, 16, 16).float()
    texts = torch.randint(4, 40, (6, 9), generator=torch.Generator().manual_seed(0))
    texts[:, 0], texts[:, -1], texts[2, 4] = 1, 3, 3
    with torch.no_grad():
        of_images, of_texts = image_grams(towers, images), text_grams(towers, texts, 3)
        # Tokens after the end of a text change nothing.
        other = texts.clone()
        other[2, 5:] = 11
        again = text_grams(towers, other, 3)
    assert [len(of_images), len(of_texts)] == [len(image_layers(towers)), len(text_layers(towers))] == [4, 3]
    assert list(image_layers(towers)) == ["embeddings", "layer 1", "layer 2", "output"]
    for gram, same in zip(of_texts, again, strict=True):
        torch.testing.assert_close(gram, same)
    torch.testing.assert_close(of_images[-1], centred_gram(towers.image(images)))
    torch.testing.assert_close(of_texts[-1], centred_gram(towers.caption(texts, torch.tensor([8, 8, 4, 8, 8, 8]))))
    assert not any(module._forward_hooks for module in towers.modules())


def test_hooks_are_removed_after_a_failure():
    layer = nn.Linear(3, 3)
    with pytest.raises(RuntimeError), outputs_of({"one": layer}, lambda output: output):
        layer(torch.zeros(2, 5))
    assert not layer._forward_hooks
