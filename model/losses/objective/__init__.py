"""What is minimised: cross-entropy along lines or over all tuples, masks, targets, reduction, sigmoid losses."""
