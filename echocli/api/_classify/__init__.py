"""What ``classify`` consists of: rows, probes and figures of classes."""
