"""Splits by patient: the same on every machine, for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from echocli.errors import EchoError

SHARES: dict[str, float] = {"train": 0.7, "val": 0.1, "test": 0.2}
"""Default share of each split."""


def split_of(patient: str, shares: Mapping[str, float] = SHARES, salt: str = "v1") -> str:
    """Return the split of a patient.

    It depends on the pseudonym alone, so that adding patients moves nobody.

    Args:
        patient: Pseudonym. All clips of a patient land in one split.
        shares: Share of each split; they sum to 1.
        salt: Change it to draw new splits.

    Raises:
        ValueError: If the shares do not sum to 1.
    """
    if abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"The shares sum to {sum(shares.values())}; they must sum to 1.")
    digest = hashlib.sha256(f"{salt}/{patient}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    edge = 0.0
    name = ""
    for name, share in shares.items():
        edge += share
        if draw < edge:
            return name
    return name


def check_patients_apart(patients: Iterable[str], splits: Iterable[str | None]) -> None:
    """Refuse splits that put one patient on two sides.

    Args:
        patients: Pseudonym of each row.
        splits: Split of each row; ``None`` for rows that are not used.

    Raises:
        EchoError: If a patient has rows in more than one split.
    """
    seen: dict[str, str] = {}
    torn: set[str] = set()
    for patient, split in zip(patients, splits, strict=True):
        if split is not None and seen.setdefault(patient, split) != split:
            torn.add(patient)
    if torn:
        raise EchoError(
            f"{len(torn)} patient(s) stand in more than one split, first {min(torn)}.",
            "Give every clip of a patient the same split, or leave the split column out and "
            "let echocli split by patient.",
        )
