"""Rows per clip, frame, token and patient: in parts, in every format, and after a stop."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from micro import micro_clip, write_clips
from safetensors.torch import load_file

from echocli import table_formats
from echocli.api._embed import units as units_module
from echocli.api._embed import write as write_module
from echocli.api._embed.checks import cosine_of, told_from
from echocli.api.embed import EmbedResult, StoppedEarly
from echocli.api.embed import embed as embed_
from echocli.checkpoint import load_model, save_model
from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.clips.windows import window_indices
from echocli.errors import EchoError, UsageError
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.tables import Embeddings, examine, open_embeddings, read_embeddings

CLIPS = 9
GRID = (2, 4, 4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ViTConfig(
        frames=4, size=32, tubelet=(2, 8, 8), channels=1, dim=24, depth=1, heads=2
    )
    encoder = VisionTransformer(config, torch.Generator().manual_seed(0))
    data = DataConfig(frames=4, size=32, seconds=0.5, stride=None, sector_tokens=False)
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, encoder, data, "vjepa", {})
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "clips"
    write_clips(folder, [clip(number) for number in range(CLIPS)])
    return folder


def clip(number: int, **labels: Any) -> Clip:
    """Return a clip; three in a row are of one patient."""
    made = micro_clip(number, patient_id=f"p{number // 3}")
    return replace(made, labels={**made.labels, "scanner": f"s{number // 3 % 2}", **labels})


def embed(source: Path, model: Path, **more: Any) -> EmbedResult:
    return embed_(source, model=model, **{"device": "cpu", "precision": "fp32", **more})


def assert_same_table(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    assert list(ours) == list(theirs)
    for name in ours:
        assert (ours[name].isna() == theirs[name].isna()).all(), name
        assert ours[name].dropna().tolist() == theirs[name].dropna().tolist(), name


@pytest.fixture(scope="module")
def plain(clips: Path, model: Path) -> Embeddings:
    """Return all tokens of all windows."""
    return embed(clips, model, per="token", windows=2).embeddings


def test_tokens_know_their_place_in_grid_and_clip(
    clips: Path, model: Path, plain: Embeddings
) -> None:
    table = plain.table
    assert len(table) == CLIPS * 2 * 32
    assert plain.metadata["grid"] == list(GRID)
    assert plain.metadata["tubelet"] == [2, 8, 8]
    loaded, stored = load_model(model), ClipSet.open(clips)
    for row in (5, 250, 500):
        place = table.iloc[row]
        number = int(place["clip_id"].removeprefix("c"))
        times = stored.times_s(number)
        assert times is not None
        assert place["time_s"] == times[place["frame"]]
        data = loaded.data
        indices = window_indices(times, len(times), data, float(place["window"]))
        assert indices is not None
        assert place["frame"] == indices[2 * place["step"]]
        pixels = torch.from_numpy(stored.frames(number)[indices].copy()).float()[None, None]
        video = (pixels / 255 - data.mean[0]) / data.std[0]
        tokens = loaded.encoder(video)[0].numpy().reshape(*GRID, -1)
        expected = tokens[place["step"], place["row"], place["column"]]
        np.testing.assert_allclose(plain.vectors[row], expected, rtol=1e-4, atol=1e-5)


def test_frames_clips_windows_and_patients_are_means_of_tokens(
    clips: Path, model: Path, plain: Embeddings
) -> None:
    def mean(by: list[str]) -> Any:
        frame = pd.DataFrame(plain.vectors).groupby([plain.table[n] for n in by], sort=False)
        return frame.mean().to_numpy()

    for per, more, by in [
        ("frame", {}, ["clip_id", "window", "step"]),
        ("clip", {"pool": "mean", "keep_windows": True}, ["clip_id", "window"]),
        ("clip", {"pool": "mean"}, ["clip_id"]),
        ("patient", {"pool": "mean"}, ["patient_id"]),
    ]:
        found = embed(clips, model, per=per, windows=2, **more).embeddings
        np.testing.assert_allclose(found.vectors, mean(by), rtol=1e-4, atol=1e-5)
        rows = plain.table.drop_duplicates(by)
        assert (found.table[by].to_numpy() == rows[by].to_numpy()).all()


def test_a_patient_has_the_labels_that_all_its_clips_share(clips: Path, model: Path) -> None:
    table = embed(clips, model, per="patient").embeddings.table
    assert table["patient_id"].tolist() == ["p0", "p1", "p2"]
    assert table["clips"].tolist() == [3, 3, 3]
    assert table["scanner"].tolist() == ["s0", "s1", "s0"]
    assert table["ef_percent"].isna().all()  # 40, 41, 42 in one patient
    assert table["source_sha256"].nunique() == 3
    assert "clip_id" not in table


@pytest.mark.parametrize("per", ["clip", "frame", "token", "patient"])
def test_every_format_holds_the_same(
    tmp_path: Path, clips: Path, model: Path, per: str
) -> None:
    wanted = embed(clips, model, per=per).embeddings
    stream = io.StringIO()
    embed(clips, model, per=per, out=stream)
    (tmp_path / "stream.csv").write_text(stream.getvalue())
    for name in ("e.parquet", "e.csv", "e.safetensors", "stream.csv"):
        if name != "stream.csv":
            embed(clips, model, per=per, out=tmp_path / name)
        found = read_embeddings(tmp_path / name)
        np.testing.assert_array_equal(found.vectors, wanted.vectors)
        assert found.metadata == wanted.metadata
        assert_same_table(found.table, wanted.table)
        assert examine(open_embeddings(tmp_path / name)).whole
    tensors = load_file(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(tensors["embedding"].numpy(), wanted.vectors)
    text = bytes(tensors["table"].tolist()).decode()
    assert len(pd.read_csv(io.StringIO(text))) == len(wanted.table)


@pytest.mark.parametrize("name", ["e.parquet", "e.csv", "e.safetensors"])
def test_a_table_that_lost_or_moved_rows_says_so(
    tmp_path: Path, clips: Path, model: Path, name: str
) -> None:
    path = tmp_path / name
    embed(clips, model, out=path)
    content = path.read_bytes()
    vectors = embed(clips, model).embeddings.vectors
    one, other = (vector.tobytes() for vector in vectors[:2])
    if name == "e.csv":
        lines = content.decode().splitlines(keepends=True)
        path.write_text("".join(lines[:3] + lines[4:]))
        assert examine(open_embeddings(path)).whole is False
        path.write_text("".join(lines[:-1]))
        with pytest.raises(EchoError, match="can be read"):
            open_embeddings(path)
        return
    swapped = content.replace(one, b"\0" * len(one)).replace(other, one)
    path.write_bytes(swapped.replace(b"\0" * len(one), other, 1))
    assert path.read_bytes() != content
    if name == "e.parquet":  # its pages tell that they have changed
        with pytest.raises(EchoError, match="damaged"):
            examine(open_embeddings(path))
        return
    assert examine(open_embeddings(path)).whole is False


def test_shares_are_read_as_one(tmp_path: Path, clips: Path, model: Path) -> None:
    out = tmp_path / "e.parquet"
    for share in ("1/3", "3/3"):
        embed(clips, model, out=out, shard=share)
    with pytest.raises(EchoError, match=r"lacks 1 of its 3 parts: 2"):
        open_embeddings(out)
    assert embed(clips, model, out=out, shard="3/3").unchanged
    embed(clips, model, out=out, shard="2/3")
    stored, whole = open_embeddings(out), embed(clips, model).embeddings
    assert examine(stored).whole
    ours = read_embeddings(out)
    order = ours.table["clip_id"].argsort().to_numpy()
    np.testing.assert_allclose(ours.vectors[order], whole.vectors, rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match="folder"):
        embed(clips, model, out=out)
    embed(clips, model, out=tmp_path / "other.parquet", shard="2/3", pool="mean")
    (tmp_path / "other.parquet" / "part-2of3.parquet").replace(out / "part-2of3.parquet")
    with pytest.raises(EchoError, match="Parts 1 and 2"):
        open_embeddings(out)


def test_a_share_may_be_empty(tmp_path: Path, clips: Path, model: Path) -> None:
    out = tmp_path / "e.parquet"
    for number in range(1, 8):
        embed(clips, model, out=out, shard=f"{number}/7", per="patient")
    assert examine(open_embeddings(out)).whole
    assert sorted(read_embeddings(out).table["patient_id"]) == ["p0", "p1", "p2"]


class Counted:
    """Counts the clips that cross the network, and pulls the plug after so many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int = 10**9) -> None:
        self.clips, self.most = 0, most
        self.real = write_module.encode_units
        monkeypatch.setattr(write_module, "encode_units", self)

    def __call__(self, *args: Any) -> Any:
        if self.clips >= self.most:
            raise KeyboardInterrupt
        self.clips += sum(len(rows) for rows in args[2].rows)
        return self.real(*args)


@pytest.mark.parametrize("per", ["clip", "token", "patient"])
def test_after_a_stop_only_the_rest_is_encoded(
    tmp_path: Path, clips: Path, model: Path, monkeypatch: pytest.MonkeyPatch, per: str
) -> None:
    monkeypatch.setattr(units_module, "BLOCK", 3)
    out, options = tmp_path / "e.parquet", {"per": per, "batch": 1, "windows": 1}
    wanted = embed(clips, model, **options).embeddings
    with monkeypatch.context() as patch:
        counted = Counted(patch, most=6)
        with pytest.raises(KeyboardInterrupt):
            embed(clips, model, out=out, **options)
        assert counted.clips == 6
    assert not out.exists()
    with monkeypatch.context() as patch:
        counted = Counted(patch)
        assert embed(clips, model, out=out, **options).kept == (2 if per == "patient" else 6)
        assert counted.clips == 3
    found = read_embeddings(out)
    assert_same_table(found.table, wanted.table)
    np.testing.assert_array_equal(found.vectors, wanted.vectors)
    assert embed(clips, model, out=out, **options).unchanged
    assert [path.name for path in tmp_path.iterdir()] == ["e.parquet"]


def test_work_of_other_settings_is_not_used(
    tmp_path: Path, clips: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units_module, "BLOCK", 3)
    options: dict[str, Any] = {"out": tmp_path / "e.parquet", "batch": 1}
    with monkeypatch.context() as patch:
        Counted(patch, most=6)
        with pytest.raises(KeyboardInterrupt):
            embed(clips, model, windows=1, **options)
    counted = Counted(monkeypatch)
    embed(clips, model, windows=2, **options)
    assert counted.clips == CLIPS


def test_a_set_that_grew_changed_and_got_labels_costs_only_what_is_new(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "e.parquet"
    for name, numbers, labels, encoded in [
        ("first", range(4), {}, 4),
        ("grown", range(6), {}, 2),
        ("labelled", range(6), {"view": "A2C", "rhythm": "sinus"}, 0),
        ("again", range(6), {"view": "A2C", "rhythm": "sinus"}, 0),
    ]:
        write_clips(tmp_path / name, [clip(number, **labels) for number in numbers])
        with monkeypatch.context() as patch:
            counted = Counted(patch)
            result = embed(tmp_path / name, model, out=out)
        assert counted.clips == encoded, name
        assert result.unchanged == (name == "again")
        wanted = embed(tmp_path / name, model).embeddings
        found = read_embeddings(out)
        assert_same_table(found.table, wanted.table)
        np.testing.assert_allclose(found.vectors, wanted.vectors, rtol=1e-5, atol=1e-6)
    darker = [replace(clip(n), frames=clip(n).frames // (1 + (n == 2))) for n in range(6)]
    write_clips(tmp_path / "changed", darker)
    counted = Counted(monkeypatch)
    embed(tmp_path / "changed", model, out=out)
    assert counted.clips == 1
    wanted = embed(tmp_path / "changed", model).embeddings
    order = read_embeddings(out).table["clip_id"].argsort().to_numpy()
    np.testing.assert_allclose(read_embeddings(out).vectors[order], wanted.vectors, rtol=1e-5)


def test_damaged_and_foreign_tables_are_not_added_to(
    tmp_path: Path, clips: Path, model: Path
) -> None:
    out = tmp_path / "e.safetensors"
    embed(clips, model, out=out)
    content = bytearray(out.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[start + 40] ^= 1
    out.write_bytes(content)
    with pytest.raises(UsageError, match="changed since"):
        embed(clips, model, out=out)
    for name, options, words in [
        ("per.parquet", {"per": "frame"}, 'per was "clip", now "frame"'),
        ("windows.parquet", {"windows": 2}, "windows was 3, now 2"),
        ("precision.parquet", {"precision": "bf16"}, 'precision was "fp32", now "bf16"'),
    ]:
        embed(clips, model, out=tmp_path / name)
        with pytest.raises(UsageError, match=words):
            embed(clips, model, out=tmp_path / name, **options)


def test_long_tables_never_lie_in_memory_whole(
    tmp_path: Path, clips: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 0
    real = write_module.encode_units

    def measured(*args: Any) -> Any:
        nonlocal largest
        rows = real(*args)
        largest = max(largest, rows.vectors.nbytes)
        return rows

    monkeypatch.setattr(write_module, "encode_units", measured)
    one = 32 * 2 * 24 * 4  # tokens, windows, numbers, bytes
    monkeypatch.setattr(units_module, "BLOCK_BYTES", 2 * one)
    embed(clips, model, out=tmp_path / "e.parquet", per="token", windows=2, batch=2)
    assert largest == 2 * one


@pytest.mark.parametrize(
    "wrong",
    [
        {"per": "heart"},
        {"per": "token", "pool": "mean"},
        {"per": "patient", "keep_windows": True},
        {"shard": "5/4"},
        {"shard": "1/4", "out": Path("e.csv")},
    ],
)
def test_what_does_not_fit_is_wrong_usage(
    clips: Path, model: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        embed(clips, model, **wrong)


def test_bf16_is_compared_with_fp32_and_left_where_it_changes_neighbours(
    tmp_path: Path, clips: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = embed(clips, model, precision="bf16", out=tmp_path / "e.parquet")
    record = result.metadata["precision_check"]
    assert result.metadata["precision"] == "bf16"
    assert 0.9 < record["least_cosine"] < 1
    # What auto would choose on a machine with bf16, for a model that it changes too much.
    monkeypatch.setattr("echocli.device._has_bf16", lambda device: True)
    assert embed(clips, model, precision="auto").metadata["precision"] == "bf16"
    monkeypatch.setattr("echocli.api._embed.checks.LEAST_COSINE", 1.1)
    fallen = embed(clips, model, precision="auto")
    assert fallen.metadata["precision"] == "fp32"
    exact = embed(clips, model).embeddings
    np.testing.assert_array_equal(fallen.embeddings.vectors, exact.vectors)
    # Rows that are added later are computed like those that stand there.
    write_clips(tmp_path / "more", [clip(number) for number in range(CLIPS + 1)])
    grown = embed(tmp_path / "more", model, precision="auto", out=tmp_path / "e.parquet")
    assert grown.metadata["precision"] == "bf16"
    assert grown.metadata["precision_check"] == record


def test_cosines_do_not_hide_behind_what_all_clips_share() -> None:
    generator = np.random.default_rng(0)
    clips = generator.normal(0, 0.01, (8, 50)) + 100
    noisy = clips + generator.normal(0, 0.01, clips.shape)
    assert cosine_of(noisy, clips) < 0.95
    assert cosine_of(clips, clips) == pytest.approx(1)


def test_a_scanner_that_shows_is_told_and_one_that_does_not_is_not() -> None:
    generator = np.random.default_rng(0)
    patients = np.array([f"p{i // 2}" for i in range(400)])
    scanner = pd.Series([f"s{i // 2 % 4}" for i in range(400)])
    hearts = generator.normal(0, 1, (200, 16)).repeat(2, axis=0)
    vectors = (hearts + generator.normal(0, 0.1, (400, 16))).astype(np.float32)
    blind = told_from(vectors, scanner, patients)
    assert blind is not None
    assert abs(blind["balanced_accuracy"] - 0.25) < 0.1  # twins in other folds would tell
    vectors[:, 0] += 6 * np.arange(400) // 2 % 4
    vectors[:, :4] += 5 * np.eye(4, dtype=np.float32)[np.arange(400) // 2 % 4]
    seen = told_from(vectors, scanner, patients)
    assert seen is not None
    assert seen["balanced_accuracy"] > 0.9
    assert told_from(vectors, pd.Series(["s"] * 400), patients) is None
    assert told_from(vectors, pd.Series([None] * 398 + ["a", "b"]), patients) is None


def test_metadata_are_plain_json_and_tell_of_health_and_leakage(
    tmp_path: Path, clips: Path, model: Path
) -> None:
    result = embed(clips, model, out=tmp_path / "e.parquet")
    told = json.loads(json.dumps(open_embeddings(tmp_path / "e.parquet").metadata))
    assert told["rows"] == CLIPS
    assert told["health"]["effective_rank"] > 1
    assert told["leakage"] == {}  # three patients are too few to tell
    assert result.health is not None
    assert result.health.mean_cosine == told["health"]["mean_cosine"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_wish_to_stop_is_granted_after_the_block(
    tmp_path: Path, clips: Path, model: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    monkeypatch.setattr(units_module, "BLOCK", 3)
    out, stream, asked = tmp_path / "e.parquet", io.StringIO(), iter([False, False, True])
    options: dict[str, Any] = {"out": stream if streamed else out, "batch": 1}
    with pytest.raises(StoppedEarly, match="2 of 3"):
        embed(clips, model, stop=lambda: next(asked), **options)
    assert not out.exists()
    if streamed:
        (tmp_path / "s.csv").write_text(stream.getvalue())
        with pytest.raises(EchoError, match="can be read"):
            open_embeddings(tmp_path / "s.csv")
    else:
        assert embed(clips, model, **options).kept == 6


def test_small_blocks_become_large_row_groups(
    tmp_path: Path, clips: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units_module, "BLOCK", 2)
    out = tmp_path / "e.parquet"
    embed(clips, model, out=out, batch=1)
    assert pq.read_metadata(out).num_row_groups == 1
    monkeypatch.setattr(table_formats, "BATCH_ROWS", 4)
    embed(clips, model, out=out, batch=1, overwrite=True)
    assert pq.read_metadata(out).num_row_groups == 3
    assert len(read_embeddings(out).table) == CLIPS
