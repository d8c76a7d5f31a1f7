"""What ``pretrain`` consists of: its settings, its memory, its steps, what is seen of them."""
