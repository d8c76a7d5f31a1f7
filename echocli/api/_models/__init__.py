"""What ``models`` consists of: known checkpoints, downloads, and what a file means."""
