"""Linear probes: logistic regression of classes on features, fitted on one split and scored on another. Shapes: N
samples, D features.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The most steps of the optimizer.
STEPS = 1000
# Multiplications in one evaluation of the loss (N * D * classes) from which several threads share a matrix product.
# With fewer, the threads of BLAS wait for each other much longer than they compute.
SHARED_WORK = 1 << 26


def probe(fit: NDArray, fit_labels: NDArray, score: NDArray, score_labels: NDArray) -> dict[str, Any] | None:
    """Returns the numbers of samples, the accuracy of logistic regression on standardised (N, D) features, and the
    accuracy of always predicting the most frequent class of the samples that were fitted.

    Rows without a class (label -1) and rows with a feature that is not finite are left out. None if fewer than two
    classes remain to fit, or no row remains to score.
    """
    # Imported here, because a run usually fits its probes in another process.
    from sklearn.dummy import DummyClassifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    fit, fit_labels = usable(fit, fit_labels)
    score, score_labels = usable(score, score_labels)
    if len(np.unique(fit_labels)) < 2 or len(score) == 0:
        return None
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=STEPS))
    threads = 1 if fit.size * len(np.unique(fit_labels)) < SHARED_WORK else None  # None: as many as there are now
    with warnings.catch_warnings(), threadpool_limits(threads, user_api="blas"):
        # The reported accuracy is that after STEPS steps; a few more would not change it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(fit, fit_labels)
    return {
        "samples": [len(fit), len(score)],
        "accuracy": float(classifier.score(score, score_labels)),
        "majority": float(DummyClassifier(strategy="most_frequent").fit(fit, fit_labels).score(score, score_labels)),
    }


def usable(features: NDArray, labels: NDArray) -> tuple[NDArray, NDArray]:
    """Returns the rows that have a class and finite features, in float64."""
    rows = (labels >= 0) & np.isfinite(features).all(axis=1)
    return features[rows].astype(np.float64), labels[rows]
