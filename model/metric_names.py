"""Facts about metrics that several parts of the project must agree on."""

# The k of every recall@k.
KS = (1, 5, 10)
