"""What ``preprocess`` consists of: sources, workers, clips, and the parts of a set."""
