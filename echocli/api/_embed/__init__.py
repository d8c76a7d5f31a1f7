"""What ``embed`` consists of: units, rows, their proof and their way to the file."""
