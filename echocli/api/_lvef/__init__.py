"""What ``lvef`` consists of: rows, probes, masks and figures of ejection fractions."""
