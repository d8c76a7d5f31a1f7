"""What ``score`` consists of: the bank, its rows and its figures."""
