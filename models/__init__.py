"""The core: tensors in, tensors out."""
