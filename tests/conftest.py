"""A clip set and a run so small that every room's tests can use them; and no network."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from micro import MICRO, micro_clip, write_clips

settings.register_profile("any machine", deadline=None)  # it may be busy
settings.load_profile("any machine")

if not hasattr(os, "fork"):  # signals, limits, forks and terminals of POSIX systems
    collect_ignore = [
        *("shell", "hardening", "api/test_preprocess_under_attack.py"),
        *("api/test_pretrain_resume.py", "api/test_preprocess_workers.py"),
        "datasets/test_finding_sources.py",
    ]
HERE = ("::1", "localhost")
"""How this machine calls itself: several processes of one training meet there."""


@pytest.fixture(scope="session", autouse=True)
def offline() -> Iterator[None]:
    """Let no test reach another machine, nor ask where one is."""
    really_connect, really_look_up = socket.socket.connect, socket.getaddrinfo
    here = {*HERE, socket.gethostname()}

    def refuse_elsewhere(host: Any) -> None:
        # No OSError: a program might take it for a bad connection and go on.
        assert not host or host in here or str(host).startswith("127."), "no network in tests"

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse_elsewhere(address[0])
        return really_connect(self, address)

    def look_up(host: Any, *more: Any, **others: Any) -> Any:
        refuse_elsewhere(host)
        return really_look_up(host, *more, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        patch.setattr(socket, "getaddrinfo", look_up)
        yield


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
