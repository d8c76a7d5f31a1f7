"""Tokens outside the sector are left out by the same rule wherever clips are read."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from micro import micro_clip, write_clips
from numpy.typing import NDArray

from echocli.api import _sector
from echocli.api._encode import encode_clips
from echocli.api._sector import grid_of, groups, share_of_clip, share_to_train, tokens_seen
from echocli.api._segment.networks import TokenNetwork, predict_frames
from echocli.api._segment.tokens import encode_frames, labelled_frames
from echocli.api._windows import read_windows
from echocli.api.embed import embed
from echocli.api.pretrain import Choice, plan, pretrain
from echocli.checkpoint import LoadedModel, load_model, save_model
from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.clips.windows import to_video
from echocli.console import SILENT
from echocli.device import choose_device
from echocli.files import sha256_of
from echocli.models.tasks.segmentation import LinearSegmenter

DATA = DataConfig(frames=4, size=32, seconds=0.5, sector_tokens=True)
GRID = (2, 4, 4)


def fan_clip(number: int) -> Clip:
    """Return a clip whose scan fills a corner, larger in every second clip."""
    clip = micro_clip(number)
    side = 20 if number % 2 else 14
    sector = np.add.outer(np.arange(32), np.arange(32)) < side
    return replace(clip, frames=np.maximum(clip.frames, 1) * sector, sector=sector)


@pytest.fixture(scope="module")
def fans(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    folder = tmp_path_factory.mktemp("fans") / "clips"
    return write_clips(folder, [fan_clip(number) for number in range(9)])


@pytest.fixture(scope="module")
def model(micro_run: Path) -> LoadedModel:
    return load_model(micro_run)


def columns_by_hand(frames: NDArray[np.uint8]) -> set[int]:
    """Return the columns of the grid that hold a pixel above black, one by one."""
    return {
        row * 4 + column
        for row in range(4)
        for column in range(4)
        if frames[:, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].any()
    }


def test_all_that_is_not_black_is_seen_and_shares_follow_the_clip(fans: ClipSet) -> None:
    shares = set()
    for row in range(len(fans)):
        needed = columns_by_hand(fans.frames(row))
        share = share_of_clip(fans, row, DATA, GRID)
        assert share == math.ceil(8 * len(needed) / 16) / 8
        seen = tokens_seen(fans, [row], DATA, GRID)
        assert seen is not None
        assert seen.shape == (1, 2 * share * 16)
        columns = set((seen[0] % 16).tolist())
        assert needed <= columns
        shares.add(share)
    assert len(shares) == 2


def test_groups_hold_every_row_once_and_one_share_each(fans: ClipSet) -> None:
    found = list(groups(fans, range(9), DATA, GRID, 3))
    assert sorted(row for group in found for row in group.rows) == list(range(9))
    assert max(len(group.rows) for group in found) == 3
    for group in found:
        assert len({share_of_clip(fans, row, DATA, GRID) for row in group.rows}) == 1
        seen = tokens_seen(fans, group.rows, DATA, GRID)
        assert seen is not None
        assert group.seen is not None
        assert torch.equal(group.seen, seen)


@pytest.mark.parametrize("together", [1, 4, 64])
def test_sectors_may_be_looked_at_together_whatever_their_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(_sector, "LOOKED_AT", together)
    fans = [fan_clip(number) for number in range(5)]
    large = replace(
        fans[2],
        frames=np.kron(fans[2].frames, np.ones((1, 2, 2), dtype=np.uint8)),
        sector=np.kron(fans[2].sector, np.ones((2, 2), dtype=bool)),
    )
    write_clips(tmp_path / "clips", [*fans[:2], large, *fans[3:]])
    clips = ClipSet.open(tmp_path / "clips")
    found = sorted(sorted(group.rows) for group in groups(clips, range(5), DATA, GRID, 9))
    assert found == [[0, 4], [1, 3], [2]]
    assert share_of_clip(clips, 2, DATA, GRID) == share_of_clip(clips, 0, DATA, GRID)


@pytest.mark.parametrize("batch", [1, 100])
def test_a_row_is_its_own_clips_vector_by_the_slow_road(
    fans: ClipSet, model: LoadedModel, batch: int
) -> None:
    found = encode_clips(
        model, fans, pool="mean", windows=2, device="cpu", precision="fp32", batch=batch
    )
    assert found.rows == list(range(9))
    for row, vector in zip(found.rows, found.features, strict=True):
        windows = torch.from_numpy(read_windows(fans, [row], model.data, 2)[0])
        seen = tokens_seen(fans, [row], model.data, grid_of(model.encoder, model.data))
        assert seen is not None
        tokens = model.encoder(to_video(windows, model.data), seen.expand(2, -1))
        wanted = tokens.mean(dim=(0, 1)).numpy()
        np.testing.assert_allclose(vector, wanted, rtol=1e-4, atol=1e-5)


def test_what_is_left_out_changes_the_vector_and_a_full_sector_leaves_nothing_out(
    fans: ClipSet, model: LoadedModel, micro_clips: Path
) -> None:
    all_tokens = replace(model, data=replace(model.data, sector_tokens=False))
    ours, theirs = (encode_clips(m, fans, device="cpu").features for m in (model, all_tokens))
    assert np.abs(ours - theirs).max() > 1e-2
    full = ClipSet.open(micro_clips)
    ours, theirs = (encode_clips(m, full, device="cpu").features for m in (model, all_tokens))
    np.testing.assert_array_equal(ours, theirs)


def test_a_training_looks_at_what_most_clips_need(fans: ClipSet, micro_clips: Path) -> None:
    largest = max(share_of_clip(fans, row, DATA, GRID) for row in range(9))
    assert share_to_train(fans, range(9), DATA, GRID) == largest
    smaller = share_to_train(fans, range(0, 9, 2), DATA, GRID)
    assert smaller is not None
    assert smaller < largest
    off = replace(DATA, sector_tokens=False)
    assert share_to_train(fans, range(9), off, GRID) is None
    assert share_to_train(ClipSet.open(micro_clips), range(9), DATA, GRID) is None


def test_label_maps_are_background_outside_and_any_frame_is_the_same_alone(
    fans: ClipSet, model: LoadedModel
) -> None:
    place = choose_device("cpu", "fp32")
    head = LinearSegmenter(model.encoder.config.tubelet, 2)
    generator = torch.Generator().manual_seed(0)
    head.weight_ = torch.randn(2, 2 * 64, model.encoder.config.dim, generator=generator)
    head.bias_ = torch.zeros(2, 2 * 64)
    head.mean_, head.sd_ = torch.zeros(48), torch.ones(48)
    for row in (0, 1):
        seen = tokens_seen(fans, [row], model.data, GRID)
        assert seen is not None
        unseen = torch.ones(16, dtype=torch.bool)
        unseen[seen[0] % 16] = False
        pixels = unseen.reshape(4, 4).repeat_interleave(8, 0).repeat_interleave(8, 1).numpy()
        labels = predict_frames(TokenNetwork(model, head), fans, row, place)
        assert (labels[:, pixels] == 0).all()
        assert 0.2 < labels[:, ~pixels].mean() < 0.8


def test_tokens_of_labelled_frames_keep_their_order_and_say_what_was_not_seen(
    fans: ClipSet, model: LoadedModel
) -> None:
    place = choose_device("cpu", "fp32")
    masks = np.zeros((1, 32, 32), np.uint8)
    clips = write_clips(
        fans.folder.parent / "labelled",
        [replace(fan_clip(n), masks=masks, mask_frames=(10,)) for n in range(5)],
    )
    generator = torch.Generator().manual_seed(0)
    frames = labelled_frames(model, clips, range(5), 1, generator)
    together = encode_frames(model, clips, frames, place, SILENT).tokens
    for frame, found in zip(frames, together, strict=True):
        alone = encode_frames(model, clips, [frame], place, SILENT).tokens[0]
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5, equal_nan=True)
        share = share_of_clip(clips, frame.row, model.data, GRID)
        assert (~found[..., 0].isnan()).sum() == share * 16


def test_a_run_sees_the_sector_goes_on_exactly_and_tells_its_model(
    fans: ClipSet, tmp_path: Path, micro_words: tuple[str, ...]
) -> None:
    choice = Choice(method="vjepa", steps=4, changes=(*micro_words, "data.sector_tokens=true"))
    place: dict[str, Any] = {"device": "cpu", "precision": "fp32"}
    straight = pretrain(fans.folder, choice, out=tmp_path / "a", **place)
    asked: list[int] = []

    def after_two() -> bool:
        asked.append(1)
        return len(asked) == 2

    stopped = pretrain(fans.folder, choice, out=tmp_path / "b", stop=after_two, **place)
    assert stopped.steps_done == 2
    resumed = pretrain(fans.folder, choice, out=tmp_path / "b", **place)
    assert resumed.loss == straight.loss
    model = load_model(tmp_path / "a")
    assert model.data.sector_tokens
    assert embed(fans.folder, model=tmp_path / "a", **place).embeddings.metadata["data"][
        "sector_tokens"
    ]

    off = replace(choice, changes=(*micro_words, "data.sector_tokens=false"))
    everything = pretrain(fans.folder, off, out=tmp_path / "c", **place)
    assert everything.loss != straight.loss
    assert not load_model(tmp_path / "c").data.sector_tokens
    assert plan(fans.folder, off, **place).tokens == 32
    assert plan(fans.folder, choice, **place).tokens < 32


def test_a_model_that_does_not_say_saw_all_tokens(micro_run: Path, tmp_path: Path) -> None:
    loaded = load_model(micro_run)
    save_model(tmp_path / "old", loaded.encoder, loaded.data, loaded.method, loaded.details)
    config = tmp_path / "old" / "config.json"
    said = json.loads(config.read_text())
    del said["data"]["sector_tokens"]
    config.write_text(json.dumps(said))
    sums = tmp_path / "old" / "SHA256SUMS.json"
    sums.write_text(
        json.dumps({**json.loads(sums.read_text()), "config.json": sha256_of(config)})
    )
    assert not load_model(tmp_path / "old").data.sector_tokens
