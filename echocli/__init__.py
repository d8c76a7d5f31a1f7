"""Self-supervised learning on heart ultrasound, as a command line and a Python package."""

__version__ = "0.1.0"
