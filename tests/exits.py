"""How a command ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from echocli.main import run


def code_of(words: Sequence[object]) -> int:
    """Run a command line, without the word ``echocli``, and return its exit code."""
    with pytest.raises(SystemExit) as caught:
        run([str(word) for word in words])
    code = caught.value.code
    assert code is None or isinstance(code, int)
    return code or 0
