"""Whatever is done to an output, verify says so; what nobody touched is whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_study import write_study
from micro import micro_clip, write_clips

from echocli.api._verify.files import trusted_json
from echocli.api.export import ExportConfig, export
from echocli.api.verify import verify
from echocli.clips.writer import ClipSetWriter
from echocli.errors import EchoError
from echocli.files import sha256_of, sums_of, write_json
from echocli.tables import Embeddings, read_embeddings, rows_sha256, write_embeddings

CLIPS = 6
QUARANTINE = "source_id,position,reason,explanation,remedy\n"


def write_papers(folder: Path, clips: int) -> None:
    checks = [{"check": "every id is a keyed hash", "looked_at": clips, "passed": True}]
    parts = [f"manifest/{path.name}" for path in sorted(folder.glob("manifest/*.json"))]
    sums = sums_of(folder, parts)
    content = {"schema": "echocli.audit/1", "checks": checks, "sha256": sums}
    write_json(folder / "audit.json", content)
    (folder / "quarantine.csv").write_text(QUARANTINE)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A set of two parts with masks, as two processes would write it."""
    folder = tmp_path / "clips"
    masks = np.ones((2, 32, 32), dtype=np.uint8)
    for part in range(2):
        with ClipSetWriter(folder, f"0000{part}") as writer:
            for number in range(part * 3, part * 3 + 3):
                writer.add(micro_clip(number, masks=masks, mask_frames=(1, 7)))
    write_papers(folder, CLIPS)
    return folder


def found(path: Path, *, quick: bool = False) -> str:
    """Return all that is wrong, as one text."""
    outputs = verify(path, quick=quick).outputs
    return "; ".join(problem.found for output in outputs for problem in output.problems)


def rewrite(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a manifest and its hash, as somebody would who wants to deceive."""
    part = folder / "manifest" / "part-00000.parquet"
    table = pq.read_table(part)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), part)
    sums = part.with_suffix(".json")
    content = json.loads(sums.read_text())
    content["sha256"]["manifest/part-00000.parquet"] = sha256_of(part)
    sums.write_text(json.dumps(content))
    write_papers(folder, CLIPS)


def with_column(name: str, values: list[Any]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index(name)
        return table.set_column(index, name, pa.array(values, table.schema.field(name).type))

    return change


def test_a_clip_set_that_nobody_touched_is_whole(clips: Path) -> None:
    for quick in (False, True):
        result = verify(clips, quick=quick)
        assert result.whole, result
        assert result.outputs[0].looked_at.startswith("6 clips")
    (clips / ".DS_Store").write_text("a file manager was here")
    assert verify(clips).whole


def test_any_flipped_byte_of_any_file_is_found(clips: Path) -> None:
    generator = np.random.default_rng(0)
    for path in sorted(path for path in clips.rglob("*") if path.suffix in (".u8", ".parquet")):
        whole = path.read_bytes()
        for place in generator.integers(0, len(whole), 5):
            broken = bytearray(whole)
            broken[place] ^= 1 << int(generator.integers(8))
            path.write_bytes(broken)
            assert not verify(clips).whole, (path.name, place)
        path.write_bytes(whole)
    assert verify(clips).whole


def test_any_cut_or_lost_file_is_found_by_a_quick_look(clips: Path) -> None:
    for path in sorted(path for path in clips.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-2] if path.suffix != ".csv" else b"")
        assert not verify(clips, quick=True).whole, path.name
        path.unlink()
        assert not verify(clips, quick=True).whole, path.name
        path.write_bytes(whole)
    assert verify(clips).whole


def test_what_does_not_belong_is_counted_but_not_named(clips: Path) -> None:
    (clips / "Doe_Jane.dcm").write_text("a patient")
    (clips / "shard-00009-00000.u8").write_bytes(b"12")
    (clips / ".shard-00007-00000.u8.tmp").write_bytes(b"12")
    text = found(clips)
    assert "1 file that a clip set does not have" in text
    assert "no part knows shard-00009-00000.u8" in text
    assert "1 file of a run that did not end" in text
    assert "Doe" not in text


def test_a_part_without_its_manifest_was_never_finished(clips: Path) -> None:
    (clips / "manifest" / "part-00001.parquet").unlink()
    assert "part-00001 was never finished" in found(clips)
    shutil.copy(
        clips / "manifest" / "part-00000.parquet", clips / "manifest" / "part-00002.parquet"
    )
    assert "part-00002 cannot be used" in found(clips, quick=True)


def test_an_audit_of_other_clips_is_refused(clips: Path) -> None:
    write_papers(clips, CLIPS + 1)
    assert "other clips" in found(clips)
    checks = [{"check": "x", "looked_at": CLIPS, "passed": False}]
    write_json(clips / "audit.json", {"schema": "echocli.audit/1", "checks": checks})
    assert "did not pass" in found(clips)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("shard", ["../../etc/passwd"] * 3, "cannot belong"),
        ("shard", ["/etc/passwd"] * 3, "cannot belong"),
        ("shard", ["shard-00000-00000.u8/../../x.u8"] * 3, "cannot belong"),
        ("shard", [None] * 3, "cannot belong"),
        ("shard", ["shard-99999-00000.u8"] * 3, "is missing"),
        ("mask_shard", ["../masks.u8"] * 3, "cannot belong"),
        ("clip_id", ["../../x"] * 3, "clip_id is no id"),
        ("clip_id", ["c000"] * 3, "stands there twice"),
        ("patient_id", [None] * 3, "patient_id is no id"),
        ("frames", [2**31 - 1] * 3, "beyond the end"),
        ("frames", [-1, 24, 24], "size makes no sense"),
        ("height", [2**31 - 1] * 3, "beyond the end"),
        ("offset", [-5, 0, 0], "beyond the end"),
        ("offset", [2**62] * 3, "beyond the end"),
        ("offset", [0, 0, 0], "shares frames"),
        ("offset", [24576, 0, 49152], "have changed"),
        ("times_s", [[0.0, 1.0]] * 3, "one time for each frame"),
        ("times_s", [[0.0] * 24] * 3, "do not increase"),
        ("times_s", [[float("nan")] * 24] * 3, "one time for each frame"),
        ("times_s", [None] * 3, "times are missing"),
        ("sector", [b"1"] * 3, "sector"),
        ("row_mm", [0.0] * 3, "millimetres"),
        ("row_mm", [None] * 3, "millimetres"),
        ("mask_frames", [[1, 24]] * 3, "masks belong to frames"),
        ("mask_frames", [[1, 1]] * 3, "masks belong to frames"),
        ("mask_frames", [[1]] * 3, "of no clip"),
        ("mask_box", [[0, 33, 0, 32]] * 3, "outside its frames"),
        ("mask_box", [[0, 32, 0]] * 3, "outside its frames"),
        ("mask_box", [None] * 3, "size of its masks"),
        ("mask_height", [0] * 3, "size of its masks"),
        ("mask_height", [33] * 3, "beyond the end"),
        ("mask_row_mm", [7.0] * 3, "millimetres of its masks"),
        ("pixels_sha256", ["0" * 64] * 3, "have changed"),
        ("pixels_sha256", [None] * 3, "no hash"),
    ],
)
def test_rows_are_believed_only_if_they_fit_their_bytes(
    clips: Path, column: str, values: list[Any], said: str
) -> None:
    rewrite(clips, with_column(column, values))
    assert said in found(clips)


def test_rows_that_lack_a_column_or_change_its_type_are_told(clips: Path) -> None:
    rewrite(clips, lambda table: table.drop_columns(["offset"]))
    assert "column offset is missing" in found(clips)
    rewrite(clips, lambda table: table.append_column("offset", pa.array(["1", "2", "3"])))
    assert "column offset is of another type" in found(clips)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '"x"', "null", nested(100_000), "\xff\xfe", '{"sha256": 1}', "{}"],
)
def test_spoilt_json_is_a_finding_and_never_a_crash(clips: Path, content: str) -> None:
    for name in ("audit.json", "manifest/part-00000.json"):
        path = clips / name
        whole = path.read_bytes()
        path.write_bytes(content.encode("latin-1"))
        assert not verify(clips).whole
        path.write_bytes(whole)
    assert verify(clips).whole


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "x", "manifest/../../secret", ""]
)
def test_a_list_of_hashes_cannot_lead_out_of_the_folder(clips: Path, name: str) -> None:
    path = clips / "manifest" / "part-00000.json"
    sums = json.loads(path.read_text())
    path.write_text(json.dumps({"sha256": {**sums["sha256"], name: "0" * 64}}))
    text = found(clips)
    assert "cannot belong here" in text
    assert "passwd" not in text


def test_a_monstrous_json_file_is_not_read(clips: Path) -> None:
    with (clips / "audit.json").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)  # a hole: it takes no space
    assert "far larger" in found(clips)
    assert isinstance(trusted_json(clips / "audit.json"), str)


def test_a_manifest_that_unpacks_to_terabytes_is_not_read(clips: Path) -> None:
    part = clips / "manifest" / "part-00000.parquet"
    content = part.read_bytes()
    # Any edit of the footer is at least refused; a parser may not die of it.
    for place in range(len(content) - 300, len(content), 7):
        part.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        assert not verify(clips, quick=False).whole


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, micro_run: Path) -> Path:
    root = tmp_path_factory.mktemp("verified")
    write_study(root, n=12)
    write_papers(root / "clips", 12)
    shutil.rmtree(root / "runs")
    shutil.copytree(micro_run.parent, root / "runs")
    shutil.rmtree(root / "heads")
    embeddings = read_embeddings(root / "embeddings.parquet")
    sums = rows_sha256(embeddings.table, embeddings.vectors)
    metadata = {**embeddings.metadata, "rows_sha256": sums}
    whole = Embeddings(embeddings.table, embeddings.vectors, metadata)
    write_embeddings(root / "embeddings.parquet", whole)
    write_embeddings(root / "embeddings.csv", whole)
    for name, place in (
        ("lvef", root / "predictions"),
        ("segment", root / "predictions/segment"),
    ):
        summary = json.loads((place / f"{name}.json").read_text())
        files = ["lvef.csv"] if name == "lvef" else ["areas.csv", "volumes.csv"]
        files += [f"overlays/{p.name}" for p in sorted((place / "overlays").glob("*.png"))]
        rows = {"n_clips": 12} if name == "lvef" else {}
        write_json(place / f"{name}.json", {**summary, **rows, "sha256": sums_of(place, files)})
    export(root / "clips", root / "export")
    return root


def test_a_whole_study_is_whole(study: Path) -> None:
    result = verify(study)
    assert result.whole, found(study)
    assert sorted({output.kind for output in result.outputs}) == [
        "clip set", "embeddings", "export", "model", "run", "table",
    ]  # fmt: skip
    assert len(result.outputs) == 9


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def test_any_change_to_any_file_of_a_study_is_found(study: Path, tmp_path: Path) -> None:
    names = [
        "scores.csv", "scores.json", "predictions/lvef.csv", "predictions/segment/areas.csv",
        "predictions/segment/volumes.csv", "runs/vjepa/config.json",
        "runs/vjepa/model/config.json", "runs/vjepa/model/model.safetensors",
        "runs/vjepa/model/SHA256SUMS.json", "runs/vjepa/checkpoints/step-00000003.pt",
        "runs/vjepa/checkpoints/step-00000003.json", "runs/vjepa/metrics.jsonl",
        "embeddings.parquet", "embeddings.csv", "export/export.json",
    ]  # fmt: skip
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    for name in names:
        path = copy / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert not verify(copy).whole, name
        path.write_bytes(whole)
    overlay = next((copy / "predictions" / "segment" / "overlays").iterdir())
    edit(overlay, lambda content: content + b"x")
    assert "changed" in found(copy / "predictions")
    next((copy / "export").glob("*.mp4")).unlink()
    assert "1 file missing" in found(copy / "export")


def test_moved_rows_of_embeddings_are_found(study: Path, tmp_path: Path) -> None:
    whole = read_embeddings(study / "embeddings.parquet")
    for name in ("e.parquet", "e.csv"):
        moved = Embeddings(whole.table, np.roll(whole.vectors, 1, axis=0), whole.metadata)
        write_embeddings(tmp_path / name, moved)
        assert "rows have changed" in found(tmp_path / name)


def with_clips(study: Path, folder: Path, rows: pd.DataFrame) -> Path:
    """Copy a study, with other clips that call themselves what the rows say."""
    shutil.copytree(study, folder)
    shutil.rmtree(folder / "clips")
    ids = rows[["clip_id", "source_sha256"]].to_dict("records")
    write_clips(folder / "clips", [micro_clip(n, **own) for n, own in enumerate(ids)])
    write_papers(folder / "clips", len(ids))
    return folder


def test_rows_of_clips_that_are_gone_are_found(study: Path, tmp_path: Path) -> None:
    whole = read_embeddings(study / "embeddings.parquet")
    copy = with_clips(study, tmp_path / "study", whole.table.iloc[3:])
    text = found(copy)
    assert text.count("3 rows of clips that") == 5  # embeddings twice, scores, EF and masks

    told = Embeddings(whole.table, whole.vectors, {**whole.metadata, "read_in_place": True})
    write_embeddings(copy / "embeddings.parquet", told)
    assert found(copy).count("3 rows of clips that") == 4, "files, some of them known"


def test_results_of_clips_that_were_all_made_anew_are_found(
    study: Path, tmp_path: Path
) -> None:
    other = pd.DataFrame({"clip_id": ["a", "b"], "source_sha256": ["h", "i"]})
    copy = with_clips(study, tmp_path / "study", other)
    result = verify(copy)
    assert sorted(str(output.path.relative_to(copy)) for output in result.damaged) == [
        "embeddings.parquet", "predictions/lvef.csv", "predictions/segment", "scores.csv",
    ]  # fmt: skip
    assert found(copy).count("12 rows of clips that") == 4
    (elsewhere,) = (o for o in result.outputs if o.path.name == "embeddings.csv")
    assert elsewhere.looked_at.endswith("of other clips")


def test_results_of_other_clips_are_whole_where_a_study_does_not_keep_its_own(
    study: Path, tmp_path: Path
) -> None:
    other = pd.DataFrame({"clip_id": ["a", "b"], "source_sha256": ["h", "i"]})
    copy = with_clips(study, tmp_path / "study", other)
    (copy / "tried").mkdir()
    for name in ("embeddings.parquet", "scores.csv", "scores.json", "predictions"):
        (copy / name).rename(copy / "tried" / name)
    result = verify(copy)
    assert result.whole
    assert sum("of other clips" in output.looked_at for output in result.outputs) == 5


def test_predictions_of_another_hospital_are_whole_under_a_name_of_their_own(
    study: Path, tmp_path: Path
) -> None:
    other = pd.DataFrame({"clip_id": ["a", "b"], "source_sha256": ["h", "i"]})
    copy = with_clips(study, tmp_path / "study", other)
    folder = copy / "predictions"
    for suffix in (".csv", ".json"):
        (folder / f"lvef{suffix}").rename(folder / f"lvef-b{suffix}")
    told = json.loads((folder / "lvef-b.json").read_text())
    told["sha256"] = {"lvef-b.csv": sha256_of(folder / "lvef-b.csv")}
    write_json(folder / "lvef-b.json", told)
    (checked,) = (o for o in verify(copy).outputs if o.path.name == "lvef-b.csv")
    assert checked.whole
    assert checked.looked_at.endswith("of other clips")


def test_an_edited_score_is_found(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    edit(copy / "scores.csv", lambda text: text.replace(b"False", b"True", 1))
    assert "scores.csv: changed" in found(copy / "scores.csv")
    (copy / "scores.json").unlink()
    assert verify(copy).whole, "without its figures it is any table"


@pytest.mark.parametrize("name", ["scores.csv", "predictions/lvef.csv"])
def test_a_table_that_was_cut_to_its_header_is_found(
    study: Path, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    edit(copy / name, lambda text: text.partition(b"\n")[0] + b"\n")
    assert "another number of rows" in found(copy / name)


def test_a_run_that_stopped_half_way_is_told_how_to_go_on(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "vjepa"
    shutil.copytree(study / "runs" / "vjepa", copy)
    shutil.rmtree(copy / "model")
    (problem,) = verify(copy).outputs[0].problems
    assert problem.found == "it has no model yet"
    assert "--resume" in problem.remedy


def test_a_head_that_lost_its_weights_is_still_a_head(tmp_path: Path) -> None:
    write_json(tmp_path / "SHA256SUMS.json", {"head.safetensors": "0", "config.json": "0"})
    (found,) = verify(tmp_path).outputs
    assert found.kind == "head"
    assert [problem.found for problem in found.problems[:2]] == [
        "config.json: missing",
        "head.safetensors: missing",
    ]


def test_a_folder_of_somebody_else_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(EchoError, match="nothing that echocli wrote"):
        verify(tmp_path)
    with pytest.raises(EchoError, match="does not exist"):
        verify(tmp_path / "absent")


def test_sheets_are_counted(tmp_path: Path) -> None:
    write_clips(tmp_path / "clips", [micro_clip(0)])
    export(tmp_path / "clips", tmp_path / "out", config=ExportConfig(sheet=True))
    assert verify(tmp_path / "out").whole
    (tmp_path / "out" / "sheet-0001.png").write_bytes(b"")
    assert "1 file missing" in found(tmp_path / "out")


@pytest.mark.timeout(60)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(clips: Path) -> None:
    for path in sorted(path for path in clips.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        for quick in (True, False):
            assert not verify(clips, quick=quick).whole, path.name
        path.unlink()
        path.write_bytes(whole)
    assert verify(clips).whole
