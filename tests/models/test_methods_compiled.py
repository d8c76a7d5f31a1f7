"""Every method is one graph, compiled once, whatever a step draws.

Graphs are traced and run by PyTorch here, which takes seconds. That code is generated for them
too, which takes minutes and a C++ compiler, is tested by

    ECHOCLI_COMPILE=1 pytest tests/models/test_methods_compiled.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "compiled_steps.py"
WISH = "ECHOCLI_COMPILE"


def found(what: str) -> Any:
    """Return what the script finds, by method."""
    done = subprocess.run(
        [sys.executable, SCRIPT, what], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def graphs() -> Any:
    return found("graphs")


def test_one_graph_serves_all_steps(method_name: str, graphs: Any) -> None:
    assert graphs[method_name]["whole"] == {"graphs": 1, "wrong": 0}


def test_equal_blocks_share_their_code(method_name: str, graphs: Any) -> None:
    found = graphs[method_name]["blocks"]
    assert found["wrong"] == 0
    assert 1 <= found["graphs"] <= 8  # beyond that PyTorch would go on without compiling


@pytest.mark.skipif(WISH not in os.environ, reason=f"Generates code for minutes: {WISH}=1.")
@pytest.mark.skipif(not shutil.which("c++"), reason="There is no C++ compiler.")
@pytest.mark.timeout(3600)
def test_generated_code_trains_the_same() -> None:
    for name, (plain, whole, blocks, in_bfloat16) in found("code").items():
        assert whole == pytest.approx(plain, rel=1e-4), name
        assert blocks == pytest.approx(plain, rel=1e-4), name
        assert in_bfloat16 == {"graphs": 1, "wrong": 0}, name
