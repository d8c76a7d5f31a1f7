"""Fixtures of the core's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from made_models import MICRO, blob_batches, blobs, micro_method
from torch import Tensor

from echocli.models.methods import base
from echocli.models.vit import ViTConfig


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Micro models gain nothing from threads, which on a busy machine wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=base.available())
def method_name(request: pytest.FixtureRequest) -> str:
    """Every method in turn."""
    return str(request.param)


@pytest.fixture
def method(method_name: str) -> base.Method:
    return micro_method(method_name)


@pytest.fixture
def make_method() -> Callable[..., base.Method]:
    return micro_method


@pytest.fixture
def make_blobs() -> Callable[..., Tensor]:
    return blobs


@pytest.fixture
def make_batches() -> Callable[..., Iterator[Tensor]]:
    return blob_batches


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def micro() -> ViTConfig:
    return replace(MICRO)
