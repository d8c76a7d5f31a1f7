"""The commands as typed functions, for notebooks and scripts."""
