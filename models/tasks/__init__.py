"""One file a downstream task."""
