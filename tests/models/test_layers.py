"""Patch embedding, attention and gathering, each against the slow road."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from echocli.models import layers


def test_embedding_equals_a_convolution_whose_stride_is_its_kernel(
    generator: torch.Generator,
) -> None:
    embed = layers.PatchEmbedding(3, (2, 4, 8), 10, generator)
    video = torch.randn(2, 3, 4, 8, 24, generator=generator)
    kernel = embed.proj.weight.reshape(10, 3, 2, 4, 8)
    expected = F.conv3d(video, kernel, embed.proj.bias, stride=(2, 4, 8))
    assert_close(embed(video), expected.flatten(2).transpose(1, 2))


def test_embedding_kept_tokens_equals_keeping_embedded_tokens(
    generator: torch.Generator,
) -> None:
    embed = layers.PatchEmbedding(1, (2, 4, 4), 6, generator)
    video = torch.randn(2, 1, 4, 8, 8, generator=generator)
    keep = torch.tensor([[0, 5], [1, 7], [2, 3], [4, 6]])
    assert_close(embed(video, keep), layers.take(embed(video), keep))


@pytest.mark.parametrize("tubelet", [(2, 4, 8), (2, 4, 16), (1, 4, 4), (4, 8, 48)])
def test_bytes_are_cut_as_numbers_are(
    tubelet: tuple[int, int, int], generator: torch.Generator
) -> None:
    pixels = torch.randint(0, 256, (3, 2, 4, 8, 48), generator=generator, dtype=torch.uint8)
    expected = layers.cut_patches(pixels.float(), tubelet)
    for video in (pixels, pixels.mT.contiguous().mT):  # however they lie in memory
        cut = layers.cut_patches(video, tubelet)
        assert cut.dtype == torch.uint8
        assert torch.equal(cut.float(), expected)


def test_row_b_times_views_plus_v_takes_from_clip_b() -> None:
    tokens = torch.arange(12.0).reshape(2, 6, 1)
    keep = torch.tensor([[0, 5], [1, 2], [3, 4], [2, 0], [1, 1], [5, 3]])
    taken = layers.take(tokens, keep)
    for row, ids in enumerate(keep.tolist()):
        assert taken[row, :, 0].tolist() == [6 * (row // 3) + i for i in ids]


def test_attention_equals_softmax_written_out(generator: torch.Generator) -> None:
    heads, size, n = 2, 3, 5
    attention = layers.Attention(heads * size, heads, generator)
    tokens = torch.randn(1, n, heads * size, generator=generator)
    qkv = (tokens[0] @ attention.qkv.weight.T + attention.qkv.bias).reshape(n, 3, heads, size)
    mixed = torch.zeros(n, heads * size)
    for head in range(heads):
        query, key, value = (qkv[:, part, head] for part in range(3))
        for i in range(n):
            scores = torch.stack([query[i] @ key[j] / math.sqrt(size) for j in range(n)])
            weights = scores.exp() / scores.exp().sum()
            mixed[i, head * size : (head + 1) * size] = weights @ value
    expected = mixed @ attention.proj.weight.T + attention.proj.bias
    assert_close(attention(tokens)[0], expected)


def test_weights_come_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    one = layers.linear(8, 8, torch.Generator().manual_seed(3))
    other = layers.linear(8, 8, torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.weight, other.weight)
    assert not torch.equal(
        one.weight, layers.linear(8, 8, torch.Generator().manual_seed(4)).weight
    )
