"""Clip sets: what is stored of a cine loop, and how windows are read from it."""
