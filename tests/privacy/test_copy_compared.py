"""The copy is compared with what was written, frame by frame."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from echocli.errors import PrivacyError
from echocli.privacy import deid

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 8, 8), dtype=np.uint8)
SECTOR = np.zeros((8, 8), bool)
SECTOR[2:6, 2:6] = True
WRITTEN = [deid.cleaned(frame, SECTOR) for frame in FRAMES]


def compare(monkeypatch: pytest.MonkeyPatch, stored: list[NDArray[np.uint8]]) -> None:
    def frames(_: object) -> Iterator[NDArray[np.uint8]]:
        return iter(stored)

    monkeypatch.setattr(deid, "open_copy", lambda _: None)
    monkeypatch.setattr(deid, "stored_frames", frames)
    deid._compare(Path("copy.dcm"), SimpleNamespace(frames=FRAMES), SECTOR)  # type: ignore[arg-type]


def test_the_same_frames_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    compare(monkeypatch, WRITTEN)


@pytest.mark.parametrize(
    "stored",
    [WRITTEN[:2], [*WRITTEN, WRITTEN[0]], WRITTEN[::-1]],
    ids=["one lost", "one too many", "another order"],
)
def test_other_frames_are_refused(
    monkeypatch: pytest.MonkeyPatch, stored: list[NDArray[np.uint8]]
) -> None:
    with pytest.raises(PrivacyError):
        compare(monkeypatch, stored)
