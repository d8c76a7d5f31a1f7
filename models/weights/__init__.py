"""The published weight formats; a file here is one."""
