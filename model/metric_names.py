"""Facts about metrics that several parts of the project must agree on."""

# The k of every recall@k.
KS = (1, 5, 10)
# The joint recall that a table of results shows.
JOINT_RECALL = "joint_recall@1"
