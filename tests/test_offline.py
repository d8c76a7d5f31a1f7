"""No test reaches another machine; what meets on this one still meets."""

from __future__ import annotations

import socket
import urllib.request

import pytest

ELSEWHERE = "192.0.2.1"  # kept for documentation, RFC 5737


def test_another_machine_cannot_be_reached() -> None:
    with socket.socket() as ours, pytest.raises(AssertionError, match="no network"):
        ours.connect((ELSEWHERE, 80))
    with pytest.raises(AssertionError, match="no network"):
        socket.create_connection((ELSEWHERE, 80), timeout=1)
    with pytest.raises(AssertionError, match="no network"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open("http://example.org")


def test_this_machine_can_be_reached() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()[:2]) as ours,
        server.accept()[0] as theirs,
    ):
        ours.sendall(b"x")
        assert theirs.recv(1) == b"x"
