"""Pseudonyms, and the proof that nothing leaked."""
