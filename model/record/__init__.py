"""What a run writes: metrics.csv, health.jsonl, summary.json, repairs.txt, and the rules for writing files."""
