"""What turns a file into a cine loop."""
