"""How scores are computed: along lines, or for all tuples."""
