"""How much of a class features hold for a linear reader: fitted on one split, scored on another. Shapes: N samples, D
features.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

STEPS = 1000


def probe(fit: NDArray, fit_labels: NDArray, score: NDArray, score_labels: NDArray) -> dict | None:
    """Accuracy of logistic regression on standardised (N, D) features, and of always saying the most frequent class of
    the fitted split.

    Rows without a class (label -1) or with features that are not finite are left out. None where fewer than two classes
    are left to fit, or nothing to score.
    """
    fit, fit_labels = usable(fit, fit_labels)
    score, score_labels = usable(score, score_labels)
    if len(np.unique(fit_labels)) < 2 or len(score) == 0:
        return None
    reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=STEPS))
    with warnings.catch_warnings():
        # The accuracy after so many steps is what is reported; a few more would not change it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        reader.fit(fit, fit_labels)
    return {
        "samples": [len(fit), len(score)],
        "accuracy": float(reader.score(score, score_labels)),
        "majority": float(DummyClassifier(strategy="most_frequent").fit(fit, fit_labels).score(score, score_labels)),
    }


def usable(features: NDArray, labels: NDArray) -> tuple[NDArray, NDArray]:
    """The rows with a class and finite features, in float64."""
    kept = (labels >= 0) & np.isfinite(features).all(axis=1)
    return features[kept].astype(np.float64), labels[kept]
