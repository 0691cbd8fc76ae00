"""The accuracy of a probe is that of the converged solution, and small probes use one thread."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from model.analysis import probes
from model.analysis.probes import probe

SIZES = [(600, 20, 3), pytest.param(4096, 96, 8, marks=pytest.mark.slow)]


def features_and_labels(rows: int, width: int, classes: int, seed: int) -> tuple[NDArray, NDArray]:
    """Features whose singular values fall from 1 to 1e-6, as those of trained towers do, and labels that a noisy linear
    rule gives. seed: of the rows; the rule is always the same.
    """
    rule, random = np.random.default_rng(0), np.random.default_rng(seed)
    mixing = np.linalg.qr(rule.normal(size=(width, width)))[0] * np.logspace(0, -6, width)
    weights = rule.normal(size=(width, classes))
    hidden = random.normal(size=(rows, width))
    return (hidden @ mixing.T).astype(np.float32), (hidden @ weights + 4 * random.gumbel(size=(rows, classes))).argmax(
        1
    )


def converged_accuracy(fit: NDArray, labels: NDArray, score: NDArray, truth: NDArray) -> float:
    """Minimises the sum of cross-entropies plus half the squared weights by Newton's method in float64, until the
    gradient is below 1e-9, and returns the accuracy on `score`.
    """
    mean, deviation = fit.astype(np.float64).mean(0), fit.astype(np.float64).std(0)
    x, z = (np.hstack([(part - mean) / deviation, np.ones((len(part), 1))]) for part in (fit, score))
    classes, width = int(labels.max()) + 1, x.shape[1]
    penalty = np.tile(np.append(np.ones(width - 1), 0), classes)  # none on the constants
    weights, targets = np.zeros(classes * width), np.eye(classes)[labels]
    for _ in range(50):
        logits = x @ weights.reshape(classes, width).T
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        gradient = ((shares - targets).T @ x).ravel() + penalty * weights
        if np.abs(gradient).max() < 1e-9:
            return float(((z @ weights.reshape(classes, width).T).argmax(1) == truth).mean())
        curvature = shares[:, :, None] * (np.eye(classes) - shares[:, None])
        pairs = [[x.T @ (curvature[:, k, other, None] * x) for other in range(classes)] for k in range(classes)]
        hessian = np.block(pairs)
        # The constants of all classes may move together without effect, so the Hessian has no inverse.
        weights -= np.linalg.lstsq(hessian + np.diag(penalty), gradient, rcond=1e-12)[0]
    raise AssertionError("Newton's method has not converged")


@pytest.mark.parametrize(("rows", "width", "classes"), SIZES)
def test_the_accuracy_is_that_of_the_converged_solution(rows, width, classes):
    """The difference is far smaller than the interval of an accuracy on so many samples."""
    fit = features_and_labels(rows, width, classes, seed=1)
    score = features_and_labels(2000, width, classes, seed=2)
    with threadpool_limits(1, user_api="blas"):
        expected = converged_accuracy(*fit, *score)
    figures = probe(*fit, *score)
    half_interval = 1.96 * math.sqrt(expected * (1 - expected) / 2000)
    assert expected > figures["majority"] + half_interval
    assert abs(figures["accuracy"] - expected) <= 0.15 * half_interval


@pytest.mark.parametrize(("shared_work", "limited"), [(60 * 20 * 3 + 1, True), (60 * 20 * 3, False)])
def test_a_small_probe_uses_one_thread(monkeypatch, shared_work, limited):
    counts, fit = [], LogisticRegression.fit

    def counted(self, *arguments):
        counts.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
        return fit(self, *arguments)

    monkeypatch.setattr(LogisticRegression, "fit", counted)
    monkeypatch.setattr(probes, "SHARED_WORK", shared_work)
    with threadpool_limits(2, user_api="blas"):
        probe(*features_and_labels(60, 20, 3, seed=1), *features_and_labels(10, 20, 3, seed=2))
        assert {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"} == {2}
    assert set(counts) == ({1} if limited else {2})
