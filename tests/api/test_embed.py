"""A row is its own clip's, whatever the order, the batch and the way the clip came in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from micro import micro_clip, write_clips

from echocli.api._embed import rows as rows_module
from echocli.api._encode import EncodedGroup, encode_groups
from echocli.api.embed import embed
from echocli.checkpoint import load_model
from echocli.clips.store import ClipSet
from echocli.clips.windows import to_video, window_indices
from echocli.errors import EchoError, UsageError
from echocli.tables import read_embeddings


def by_id(source: Path, model: Path, **more: Any) -> dict[str, np.ndarray[Any, Any]]:
    more = {"device": "cpu", "precision": "fp32", **more}
    found = embed(source, model=model, **more).embeddings
    return dict(zip(found.table["clip_id"], found.vectors, strict=True))


@pytest.fixture(scope="module")
def vectors(micro_clips: Path, micro_run: Path) -> dict[str, np.ndarray[Any, Any]]:
    return by_id(micro_clips, micro_run)


def test_another_order_gives_the_same_rows(
    tmp_path: Path, micro_run: Path, vectors: dict[str, np.ndarray[Any, Any]]
) -> None:
    order = [7, 2, 9, 0, 4]
    write_clips(tmp_path / "clips", [micro_clip(number) for number in order])
    shuffled = by_id(tmp_path / "clips", micro_run)
    assert list(shuffled) == [f"c{number:03d}" for number in order]
    for clip_id, vector in shuffled.items():
        np.testing.assert_allclose(vector, vectors[clip_id], rtol=1e-4, atol=1e-5)
        others = [v for name, v in vectors.items() if name != clip_id]
        assert min(np.abs(vector - other).max() for other in others) > 1e-2


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_the_batch_does_not_matter(
    micro_clips: Path, micro_run: Path, vectors: dict[str, Any], batch: int
) -> None:
    other = by_id(micro_clips, micro_run, batch=batch)
    for clip_id, vector in other.items():
        np.testing.assert_allclose(vector, vectors[clip_id], rtol=1e-4, atol=1e-5)


def test_clips_of_several_sizes_and_rates_keep_their_rows(
    tmp_path: Path, micro_run: Path, vectors: dict[str, Any]
) -> None:
    # The same pictures with twice the pixels, and with twice the frames a second.
    large = np.kron(micro_clip(1).frames, np.ones((1, 2, 2), dtype=np.uint8))
    fast = np.repeat(micro_clip(3).frames, 2, axis=0)
    clips = [
        micro_clip(5),
        replace(micro_clip(1), frames=large, sector=np.ones((64, 64), dtype=bool)),
        micro_clip(6),
        replace(micro_clip(3), frames=fast, times_s=np.arange(48) / 40.0),
    ]
    write_clips(tmp_path / "clips", clips)
    found = by_id(tmp_path / "clips", micro_run)
    for name in ("c005", "c006"):
        np.testing.assert_allclose(found[name], vectors[name], rtol=1e-4, atol=1e-5)
    for name in ("c001", "c003"):
        near = {other: np.abs(found[name] - v).max() for other, v in vectors.items()}
        assert min(near, key=near.__getitem__) == name


@pytest.mark.parametrize("pool", ["mean", "mean_std"])
def test_a_row_equals_the_slow_road(micro_clips: Path, micro_run: Path, pool: str) -> None:
    model, clips = load_model(micro_run), ClipSet.open(micro_clips)
    found = by_id(micro_clips, micro_run, pool=pool, windows=2)
    row = 4
    frames, times = clips.frames(row), clips.times_s(row)
    expected = []
    for start in (0.0, 1.0):
        indices = window_indices(times, len(frames), model.data, start)
        assert indices is not None
        video = to_video(torch.from_numpy(frames[indices].copy())[None], model.data)
        tokens = model.encoder(video)[0].numpy()
        time, height, width = model.encoder.grid(video.shape)
        parts = [tokens.mean(axis=0)]
        if pool == "mean_std":
            places = tokens.reshape(time, height * width, -1)
            parts.append(np.array([p.std(axis=0) for p in places.swapaxes(0, 1)]).mean(axis=0))
        expected.append(np.concatenate(parts))
    slow = np.mean(expected, axis=0)
    np.testing.assert_allclose(found["c004"], slow, rtol=1e-4, atol=1e-5)


def test_the_models_contract_decides_how_clips_are_read(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...], micro_run: Path
) -> None:
    from echocli.api.pretrain import Choice, pretrain

    words = (*micro_words, "data.seconds=1.0", "data.mean=[0.4]", "optim.lr=1e-30")
    words = (*words, "optim.min_lr=0.0", "optim.weight_decay=0.0", "vjepa.momentum=1.0")
    first = (*words, "data.seconds=0.2", "data.mean=[0.1]")
    outs = [tmp_path / name for name in ("a", "b")]
    for out, changes in zip(outs, (words, first), strict=True):
        choice = Choice(method="vjepa", steps=1, changes=changes)
        pretrain(micro_clips, choice, out=out, device="cpu", precision="fp32")
    assert load_model(outs[0]).sha256 == load_model(outs[1]).sha256, "equal weights"
    a, b = (by_id(micro_clips, out) for out in outs)
    assert np.abs(a["c000"] - b["c000"]).max() > 1e-3, "but another contract"


def test_rows_carry_ids_labels_and_source_of_their_clip(
    tmp_path: Path, micro_clips: Path, micro_run: Path
) -> None:
    result = embed(micro_clips, model=micro_run, out=tmp_path / "e.parquet", device="cpu")
    found = read_embeddings(tmp_path / "e.parquet")
    assert len(found.table) == 10
    for row in found.table.to_dict("records"):
        number = int(row["clip_id"].removeprefix("c"))
        assert row["source_sha256"] == f"h{number:03d}"
        assert row["patient_id"] == f"p{number // 2}"
        assert row["ef_percent"] == 40 + number
    assert found.metadata["model_sha256"] == load_model(micro_run).sha256
    assert found.metadata["data"]["seconds"] == 0.5
    assert result.health is not None
    assert "sector" not in found.table


def test_clips_that_cannot_be_encoded_are_named_and_the_others_go_on(
    tmp_path: Path, micro_run: Path, vectors: dict[str, Any]
) -> None:
    clips = [micro_clip(0), micro_clip(1, frames=5), micro_clip(2, times_s=None), micro_clip(3)]
    write_clips(tmp_path / "clips", clips)
    result = embed(tmp_path / "clips", model=micro_run, device="cpu", precision="fp32")
    assert result.embeddings.table["clip_id"].tolist() == ["c000", "c003"]
    np.testing.assert_allclose(
        result.embeddings.vectors[1], vectors["c003"], rtol=1e-4, atol=1e-5
    )
    assert [clip_id for clip_id, _ in result.left_out] == ["c001", "c002"]
    assert "shorter" in result.left_out[0][1]
    assert "--assume-fps" in result.left_out[1][1]


def test_no_clip_at_all_is_an_error(tmp_path: Path, micro_run: Path) -> None:
    write_clips(tmp_path / "clips", [micro_clip(1, frames=5)])
    with pytest.raises(EchoError, match="None of the 1"):
        embed(tmp_path / "clips", model=micro_run, out=tmp_path / "e.parquet", device="cpu")
    assert not (tmp_path / "e.parquet").exists()


Groups = Iterator[EncodedGroup]


def shuffled(groups: Groups) -> Groups:
    """Give each clip of a group its neighbour's tokens."""
    for group in groups:
        yield group._replace(tokens=group.tokens.roll(1, dims=0))


def dropped(groups: Groups) -> Groups:
    """Lose a clip."""
    for group in groups:
        yield group._replace(rows=group.rows[1:], tokens=group.tokens[1:])


def brightened(groups: Groups) -> Groups:
    """Normalise clips that come in company otherwise than the few that are checked."""
    for group in groups:
        yield group._replace(tokens=group.tokens + 0.1 * (len(group.rows) > 2))


@pytest.mark.parametrize(
    ("fault", "words"),
    [(shuffled, "another vector"), (brightened, "another vector"), (dropped, "gave no row")],
)
@pytest.mark.parametrize("per", ["clip", "token", "patient"])
def test_faults_on_the_way_are_noticed_and_nothing_is_left(
    tmp_path: Path,
    micro_clips: Path,
    micro_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Groups], Groups],
    words: str,
    per: str,
) -> None:
    monkeypatch.setattr(
        rows_module, "encode_groups", lambda *args, **more: fault(encode_groups(*args, **more))
    )
    out = tmp_path / "e.parquet"
    with pytest.raises(EchoError, match=words):
        embed(micro_clips, model=micro_run, out=out, per=per, windows=1, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_the_same_again_is_nothing_to_do_and_other_wishes_are_refused(
    tmp_path: Path, micro_clips: Path, micro_run: Path
) -> None:
    out = tmp_path / "e.parquet"
    wishes: dict[str, Any] = {"model": micro_run, "out": out, "device": "cpu"}
    assert not embed(micro_clips, **wishes).unchanged
    before = out.stat().st_mtime_ns
    assert embed(micro_clips, **wishes).unchanged
    with pytest.raises(UsageError, match=r"pool was \"mean_std\", now \"mean\""):
        embed(micro_clips, **wishes, pool="mean")
    write_clips(tmp_path / "other", [micro_clip(number) for number in range(3)])
    with pytest.raises(UsageError, match="other clips"):
        embed(tmp_path / "other", **wishes)
    assert out.stat().st_mtime_ns == before
    assert not embed(micro_clips, **wishes, pool="mean", overwrite=True).unchanged
    assert read_embeddings(out).metadata["pool"] == "mean"


@pytest.mark.parametrize("wrong", [{"pool": "max"}, {"pool": "cls"}, {"windows": 0}])
def test_impossible_wishes_are_wrong_usage(
    micro_clips: Path, micro_run: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        embed(micro_clips, model=micro_run, device="cpu", **wrong)


def test_a_missing_model_or_clip_set_names_its_remedy(tmp_path: Path, micro_run: Path) -> None:
    with pytest.raises(EchoError, match="echocli pretrain"):
        embed(tmp_path, model=tmp_path / "absent")
    with pytest.raises(EchoError, match="echocli preprocess"):
        embed(tmp_path / "absent", model=micro_run)
