"""The audit passes what is clean, and finds every single thing that is planted afterwards."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from html import escape
from pathlib import Path
from types import SimpleNamespace

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from made_set import Made, made, write_set
from pydicom.encaps import encapsulate, generate_frames

from echocli.clips.store import ClipSet
from echocli.errors import PrivacyError
from echocli.files import read_json, sha256_of, write_json
from echocli.privacy.audit import Check, audit, summed
from echocli.privacy.conclude import conclude

SECRET = "MRN-4711-Quillonius"
META_TITLE = "SourceApplicationEntityTitle"
OTHERS = {"1.2.3.4", "INVENTED-0001", "study 77"}
Harm = Callable[[Path], None]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    sources: list[Made] = [made(root / f"{number}.dcm", number) for number in range(2)]
    write_set(root / "set", sources)
    (root / "set" / "quarantine.csv").write_text(
        "source_id,position,reason,explanation,remedy\n" + "a" * 64 + ",3,still,a still,no\n"
    )
    write_json(root / "set" / "settings.json", {"size": 32})
    return root / "set"


@pytest.fixture
def folder(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "set"))


def prove(folder: Path) -> list[Check]:
    return audit(folder, identifiers={SECRET, *OTHERS}, named=[])


def test_a_clean_set_passes_and_says_what_was_looked_at(clean: Path) -> None:
    checks = prove(clean)
    assert len(checks) == 12
    assert all(check.passed and check.looked_at >= 1 for check in checks)
    assert not (clean / "audit.json").exists()


def in_json(text: bytes) -> Harm:
    def harm(folder: Path) -> None:
        (folder / "settings.json").write_bytes(b'{"size": "' + text + b'"}')

    return harm


def in_copy(change: Callable[[pydicom.Dataset], None]) -> Harm:
    def harm(folder: Path) -> None:
        path = sorted((folder / "dicom").iterdir())[1]
        copy = pydicom.dcmread(path)
        change(copy)
        copy.save_as(path)

    return harm


def in_bytes(change: Callable[[bytearray], object]) -> Harm:
    def harm(folder: Path) -> None:
        path = sorted((folder / "dicom").iterdir())[1]
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(content)

    return harm


def light_a_pixel(folder: Path) -> None:
    path = folder / "shard-00000-00000.u8"
    pixels = np.fromfile(path, np.uint8)
    pixels[0] = 1
    pixels.tofile(path)


def change_table(change: Callable[[pa.Table], pa.Table]) -> Harm:
    def harm(folder: Path) -> None:
        path = folder / "manifest" / "part-00000.parquet"
        pq.write_table(change(pq.read_table(path)), path, compression="zstd")
        sums = read_json(path.with_suffix(".json"))
        sums["sha256"]["manifest/part-00000.parquet"] = sha256_of(path)
        write_json(path.with_suffix(".json"), sums)

    return harm


def column(name: str, value: object) -> Harm:
    def change(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist() if name in table.column_names else [None, None]
        values[1] = value
        array = pa.array(values)
        if name not in table.column_names:
            return table.append_column(name, array)
        return table.set_column(table.column_names.index(name), name, array)

    return change_table(change)


def swap_copies(folder: Path) -> None:
    one, other = sorted((folder / "dicom").iterdir())
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def metadata(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata({**table.schema.metadata, b"note": SECRET.encode()})


def set_pixels(copy: pydicom.Dataset) -> None:
    """Put one bright pixel outside the sector into one frame, as a scanner's text would be."""
    streams = list(generate_frames(copy.PixelData, number_of_frames=copy.NumberOfFrames))
    frame = imagecodecs.jpegls_decode(streams[-1]).copy()
    frame[0, 0] = 200
    copy.PixelData = encapsulate([*streams[:-1], bytes(imagecodecs.jpegls_encode(frame))])


def new_file(name: str, content: bytes) -> Harm:
    def harm(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return harm


def append_to_shard(folder: Path) -> None:
    with (folder / "shard-00000-00000.u8").open("ab") as file:
        file.write(SECRET.encode())


def orphan(folder: Path) -> None:
    sorted((folder / "dicom").iterdir())[0].rename(folder / "dicom" / f"c{'0' * 16}.dcm")


def put(keyword: str, value: object) -> Harm:
    return in_copy(lambda copy: setattr(copy, keyword, value))


def add_private(copy: pydicom.Dataset) -> None:
    copy.private_block(0x29, "x", create=True).add_new(1, "LO", "x")


def comment_the_region(copy: pydicom.Dataset) -> None:
    copy.SequenceOfUltrasoundRegions[0].PatientComments = "x"


LIST = b"source_id,position,reason\n1,2," + SECRET.encode()
PICTURE = b'<img src="data:image/jpeg;base64,%s">' % base64.b64encode(SECRET.encode())
HARMS: dict[str, Harm] = {
    "plain": in_json(SECRET.encode()),
    "upper case": in_json(SECRET.upper().encode()),
    "reversed": in_json(SECRET.encode()[::-1]),
    "utf-16": in_json(SECRET.encode("utf-16-be")),
    "hex": in_json(SECRET.encode().hex().encode()),
    "base64": in_json(base64.b64encode(b"ab" + SECRET.encode())),
    "file name": new_file("Jane-4711.json", b"{}"),
    "folder name": new_file("Jane/settings.json", b"{}"),
    "pixel outside the sector": light_a_pixel,
    "column": column("surname", "x"),
    "label": column("view", SECRET),
    "word": column("time_source", "Jane Doe"),
    "id": column("patient_id", "4711"),
    "table's metadata": change_table(metadata),
    "quarantine": new_file("quarantine.csv", LIST),
    "shard": append_to_shard,
    "picture of a page": new_file("audit.html", PICTURE),
    "page": new_file("audit-2.html", b"<p>" + SECRET.encode()),
    "element": put("StudyDescription", "x"),
    "kept element": put("Manufacturer", SECRET),
    "private element": in_copy(add_private),
    "element of an item": in_copy(comment_the_region),
    "overlay": in_copy(lambda copy: copy.add_new(0x60003000, "OW", b"xx")),
    "wrong flag": put("BurnedInAnnotation", "YES"),
    "missing flag": in_copy(lambda copy: copy.__delattr__("PatientIdentityRemoved")),
    "wrong patient": put("PatientID", "p" + "0" * 16),
    "original UID": put("StudyInstanceUID", "1.2.3.4"),
    "date where none should be": put("StudyDate", "19940130"),
    "codes that contradict": put("LongitudinalTemporalInformationModified", "MODIFIED"),
    "title in the meta": in_copy(lambda copy: setattr(copy.file_meta, META_TITLE, "X")),
    "pixel outside in one frame of the copy": in_copy(set_pixels),
    "preamble": in_bytes(lambda content: content.__setitem__(slice(0, 4), b"Jane")),
    "trailing bytes": in_bytes(lambda content: content.extend(b"Jane Doe")),
    "no DICOM at all": in_bytes(lambda content: content.clear()),
    "cut": in_bytes(lambda content: content.__delitem__(slice(300, None))),
    "copies swapped": swap_copies,
    "copy of no clip": orphan,
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_every_harm_is_found(folder: Path, harm: Harm) -> None:
    harm(folder)
    with pytest.raises(PrivacyError) as found:
        prove(folder)
    assert SECRET not in str(found.value)


def test_a_name_of_letters_is_compared_with_the_labels(folder: Path) -> None:
    column("view", "Quillonius")(folder)
    assert prove(folder)
    with pytest.raises(PrivacyError):
        audit(folder, identifiers={"quillonius"}, named=[])


def test_what_others_write_at_the_same_time_is_not_looked_at(folder: Path) -> None:
    (folder / ".writing-2-of-4").mkdir()
    (folder / ".writing-2-of-4" / "anything").write_text(SECRET)
    (folder / "state").mkdir()
    (folder / "state" / "2-of-4.lock").touch()
    assert prove(folder)


def test_the_end_adds_up_the_parts_and_searches_the_lists(folder: Path) -> None:
    part = folder / "manifest" / "part-00000.json"
    checks = prove(folder)
    rows = [vars(check) for check in checks]
    write_json(part, {**read_json(part), "checks": rows})
    refusals = [
        SimpleNamespace(reason="still", explanation="a still", source_id="", position=1)
    ]
    wishes = {"quarantined": refusals, "identifiers": {SECRET}, "named": []}
    concluded = conclude(folder, details={"parts": 1}, **wishes)  # type: ignore[arg-type]
    written = read_json(folder / "audit.json")
    assert written["parts"] == 1
    assert [Check(**row) for row in written["checks"]] == concluded
    assert {check.check for check in concluded} == {check.check for check in checks}
    shown = (folder / "audit.html").read_text("utf-8")
    for check in concluded:
        assert re.search(rf">{escape(check.check)}</[^>]+><td[^>]*>{check.looked_at}<", shown)
    (folder / "quarantine.csv").write_text(
        (folder / "quarantine.csv").read_text().replace("a still", SECRET)
    )
    with pytest.raises(PrivacyError):
        conclude(folder, details={}, **wishes)  # type: ignore[arg-type]


def test_sums_keep_a_failure() -> None:
    parts = [[Check("a", 2, True), Check("b", 1, True)], [Check("a", 3, False)]]
    assert summed(parts) == [Check("a", 5, False), Check("b", 1, True)]


def test_an_empty_part_passes(folder: Path) -> None:
    shutil.rmtree(folder / "dicom")
    change_table(lambda table: table.slice(0, 0))(folder)
    (folder / "shard-00000-00000.u8").unlink()
    assert json.dumps([vars(check) for check in prove(folder)])
    assert len(ClipSet.open(folder)) == 0
