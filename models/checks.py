"""What numbers settings may be; what is left out is not looked at."""

from __future__ import annotations


def check_counts(settings: object, *names: str) -> None:
    """Check that settings are 1 or more.

    Raises:
        ValueError: With the one that is not.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more.")


def check_positive(settings: object, *names: str) -> None:
    """Check that settings are above 0.

    Raises:
        ValueError: With the one that is not.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value > 0:
            raise ValueError(f"{name} is {value}; it must be above 0.")


def check_shares(settings: object, *names: str) -> None:
    """Check that settings lie from 0 to 1.

    Raises:
        ValueError: With the one that does not.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; it must lie from 0 to 1.")
