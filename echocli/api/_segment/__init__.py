"""What ``segment`` consists of: tokens and networks, fits and figures, films and files."""
