"""Places beside ``metrics.jsonl`` where the figures of a run go: a file here is one."""
