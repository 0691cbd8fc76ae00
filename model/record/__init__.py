"""Writes and reads the files of a run: metrics.csv, health.jsonl, summary.json and repairs.txt."""
