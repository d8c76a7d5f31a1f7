"""A share of what ``benchmarks/harden_readers.py`` does with thousands of damaged files."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
from hard_readers import BAD, READERS, WAYS, fuzz_readers, write_everything

from echocli.api._models.read import read_weights
from echocli.checkpoint import load_model
from echocli.clips.store import ClipSet
from echocli.config import read_settings
from echocli.errors import EchoError
from echocli.tables import open_embeddings


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("everything")
    write_everything(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_refused_or_read_as_it_was(everything: Path) -> None:
    found = list(fuzz_readers(everything, list(READERS), 6, seed=7))
    assert [f for f in found if f.outcome in BAD] == []
    assert {f.reader for f in found if f.outcome == "refused"} >= {
        name for name, reader in READERS.items() if reader.sealed
    }
    assert {f.way for f in found} == set(WAYS)


class Harmful:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_code_in_a_pickle_is_never_run(everything: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"model": Harmful(mark)}))
    with pytest.raises(EchoError, match="Nothing in it was run"):
        read_weights(tmp_path / "evil.pth")
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"model": Harmful(mark)}))
        archive.writestr("archive/version", "3\n")
        archive.writestr("../../climbed", "out")
    with pytest.raises(EchoError, match="Nothing in it was run"):
        read_weights(tmp_path / "zip.pth")
    (tmp_path / "settings.yaml").write_text(f"!!python/object/apply:os.system ['touch {mark}']")
    with pytest.raises(EchoError, match="is not TOML"):
        read_settings(tmp_path / "settings.yaml")
    assert not mark.exists()
    assert not (tmp_path.parent / "climbed").exists()


def test_files_that_unpack_without_end_are_refused(everything: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    with pytest.raises(EchoError):
        read_weights(tmp_path / "bomb.pth")
    for name in ("huge.safetensors", "huge.parquet"):
        content = {"huge.safetensors": b"\xff" * 7 + b"\x00{", "huge.parquet": b"PAR1"}[name]
        with (tmp_path / name).open("wb") as file:
            file.write(content)
            file.truncate(1 << 40)  # a hole: it takes no space
        with pytest.raises(EchoError):
            open_embeddings(tmp_path / name)
    with pytest.raises(EchoError):
        read_weights(tmp_path / "huge.safetensors")


def test_names_in_files_do_not_lead_out_of_a_folder(everything: Path) -> None:
    pointer = everything / "runs" / "latest"
    pointer.write_text("../../../../../../etc\n")
    with pytest.raises(EchoError):
        load_model(everything / "runs" / pointer.read_text().strip())
    pointer.write_text("first\n")
    clips = ClipSet.open(everything / "clips")
    clips.manifest["shard"] = "../../../etc/passwd"
    moved = ClipSet(clips.folder, clips.manifest, clips.kind)
    with pytest.raises(EchoError, match="none of its own"):
        moved.frames(0)
