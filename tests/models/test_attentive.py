"""The attentive pooler against a slow one, and against the published probes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from oracles.attentive_by_loops import pooled
from torch import Tensor
from torch.testing import assert_close

from echocli.models.attentive import AttentivePooler

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
needs_fixtures = pytest.mark.skipif(
    not FIXTURES.exists(), reason="The parity fixtures are not here."
)
PROBES = [("vjepa1_micro", 1), ("vjepa2_micro", 4)]
RENAMED = {
    r"module\.pooler\.": "",
    r"cross_attention_block\.": "",
    r"query_tokens": "query",
    r"xattn\.": "attn.",
}
UNUSED = ("linear", "xattn.proj")
"""No part of the pooler; V-JEPA's files hold a projection that its code never applies."""


def lively(pooler: AttentivePooler, generator: torch.Generator) -> AttentivePooler:
    """Give every weight, offsets and norms too, a number of its own."""
    with torch.no_grad():
        for parameter in pooler.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return pooler


@pytest.mark.parametrize("depth", [1, 3])
def test_every_clip_is_pooled_as_token_by_token(depth: int, generator: torch.Generator) -> None:
    pooler = lively(AttentivePooler(12, 3, depth, generator), generator).double()
    tokens = torch.randn(2, 5, 12, generator=generator, dtype=torch.float64)
    weights = dict(pooler.state_dict())
    expected = torch.stack([pooled(clip, weights, 3, depth) for clip in tokens])
    assert_close(pooler(tokens), expected)


@pytest.mark.parametrize("depth", [1, 3])
def test_the_order_of_tokens_does_not_matter(depth: int, generator: torch.Generator) -> None:
    pooler = AttentivePooler(12, 3, depth, generator)
    tokens = torch.randn(2, 7, 12, generator=generator)
    order = torch.randperm(7, generator=generator)
    assert_close(pooler(tokens[:, order]), pooler(tokens), atol=1e-5, rtol=1e-5)


def test_all_weights_are_reached(generator: torch.Generator) -> None:
    pooler = lively(AttentivePooler(12, 3, 2, generator), generator)
    pooler(torch.randn(2, 5, 12, generator=generator)).square().sum().backward()
    for name, parameter in pooler.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_heads_must_divide_the_width(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="5 heads"):
        AttentivePooler(12, 5, 1, generator)


def published(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    safetensors = pytest.importorskip("safetensors.torch")
    numbers: dict[str, Tensor] = safetensors.load_file(FIXTURES / name / "probe.safetensors")
    theirs = {k.removeprefix("state."): v for k, v in numbers.items() if k.startswith("state.")}
    return numbers, theirs


def of_pooler(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a published pooler by our names."""
    ours = {}
    for name, value in theirs.items():
        if not any(part in name for part in UNUSED):
            for old, new in RENAMED.items():
                name = re.sub(old, new, name)
            ours[name] = value
    return ours


@needs_fixtures
@pytest.mark.parametrize(("name", "depth"), PROBES)
def test_published_probes_give_their_own_numbers(name: str, depth: int) -> None:
    numbers, theirs = published(name)
    pooler = AttentivePooler(48, 3, depth, None)
    pooler.load_state_dict(of_pooler(theirs), assign=True)
    found = pooler(numbers["tokens"])
    assert_close(found, numbers["pooled"][:, 0], atol=2e-6, rtol=1e-5)
    weight, bias = theirs["module.linear.weight"], theirs["module.linear.bias"]
    assert_close(found @ weight.T + bias, numbers["logits"], atol=2e-6, rtol=1e-5)
