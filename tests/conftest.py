"""A clip set and a run so small that every room's tests can use them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from micro import MICRO, micro_clip, write_clips

settings.register_profile("any machine", deadline=None)  # it may be busy
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def micro_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip set of ten clips that nobody may change."""
    folder = tmp_path_factory.mktemp("micro") / "clips"
    write_clips(folder, [micro_clip(number) for number in range(10)])
    return folder


@pytest.fixture(scope="session")
def micro_words() -> tuple[str, ...]:
    """Return the words for ``--set`` that make any method small."""
    return MICRO


@pytest.fixture(scope="session")
def micro_run(tmp_path_factory: pytest.TempPathFactory, micro_clips: Path) -> Path:
    """Return a finished run of three steps that nobody may change."""
    from echocli.api.pretrain import Choice, pretrain

    folder = tmp_path_factory.mktemp("micro") / "runs" / "vjepa"
    choice = Choice(method="vjepa", steps=3, changes=MICRO)
    pretrain(micro_clips, choice, out=folder, device="cpu", precision="fp32")
    return folder
