"""From a batch to its views: (n, B, D) features, one row per sample in each view."""
