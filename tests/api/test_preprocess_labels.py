"""A researcher's own table of labels, as spreadsheets write it, joined to recordings."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from ears import Ears
from fake import labelled_folder
from made_dicom import moving_scan, ultrasound, write_dicom

from echocli.api._encode import open_clips
from echocli.api.preprocess import preprocess
from echocli.clips.store import ClipSet
from echocli.datasets.labelled_folder import read
from echocli.errors import EchoError
from echocli.privacy.identifiers import identifiers_of

SHEET = (
    "\ufefffile;patient; ef_percent;comment\r\na.avi;P1;55,5;x\r\nb;P1;30;\r\nc.avi;P2;;y\r\n"
)
"""What Excel writes where the comma is the decimal sign."""


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Four videos without a table."""
    folder = labelled_folder.write(tmp_path).root
    (folder / "labels.csv").unlink()
    return folder


def test_a_table_says_of_videos_whose_they_are(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(SHEET, "utf-8")
    ears, out = Ears(), tmp_path / "clips"
    preprocess(
        [videos], out, labels=tmp_path / "labels.csv", key_file=tmp_path / "key",
        workers=1, reporter=ears,
    )  # fmt: skip
    assert ears.heard_of("labels of 3 of 4 source(s): ef_percent")
    assert ears.heard_of("1 column(s) left out")
    table = ClipSet.open(out).manifest
    one, two, three, unknown = table["patient_id"]
    assert one == two
    assert len({one, three, unknown}) == 3
    assert table["ef_percent"].tolist()[:2] == [55.5, 30]
    assert table["split"][0] == table["split"][1]
    assert ears.heard_of("1 clip(s) do not tell whose they are")


def test_files_read_for_one_result_are_not_told_to_have_labels_before_clips_are_made(
    videos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ECHOCLI_KEY_FILE", str(tmp_path / "key"))
    ears = Ears()
    with open_clips(videos, reporter=ears) as clips:
        assert clips.manifest["patient_id"].nunique() == 4
    assert not ears.warned
    assert ears.heard_of("4 clip(s) do not tell whose they are")
    assert not ears.heard_of("labels.csv")


def test_the_same_sheet_beside_the_videos_is_read_alike(videos: Path, tmp_path: Path) -> None:
    (videos / "labels.csv").write_text(SHEET, "utf-8")
    ears, out = Ears(), tmp_path / "clips"
    preprocess([videos], out, key_file=tmp_path / "key", workers=1, reporter=ears)
    table = ClipSet.open(out).manifest
    assert table["ef_percent"].tolist()[:2] == [55.5, 30]
    assert table["patient_id"].nunique() == 3
    assert [line.split(" clip(s)")[0] for line in ears.warned] == ["1"]


@pytest.mark.parametrize("beside", [True, False])
def test_accents_are_found_however_they_are_written(
    videos: Path, tmp_path: Path, beside: bool
) -> None:
    (videos / "a.avi").rename(videos / unicodedata.normalize("NFD", "Zo\u00eb.avi"))
    labels = (videos if beside else tmp_path) / "labels.csv"
    labels.write_text("file,ef_percent\nZo\u00eb.avi,55\n", "utf-8")
    preprocess(
        [videos], tmp_path / "clips", key_file=tmp_path / "key", workers=1,
        labels=None if beside else labels,
    )  # fmt: skip
    assert 55 in ClipSet.open(tmp_path / "clips").manifest["ef_percent"].tolist()


def test_labels_that_are_no_utf_8_are_refused_with_the_word_of_excel(
    videos: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_bytes(b"file;view\r\nZo\xeb.avi;A4C\r\n")
    with pytest.raises(EchoError, match="not in UTF-8") as refused:
        preprocess(
            [videos], tmp_path / "clips", labels=tmp_path / "labels.csv",
            key_file=tmp_path / "key",
        )  # fmt: skip
    assert "CSV UTF-8" in refused.value.remedy


def test_a_table_that_is_not_there_is_told_as_that(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(EchoError, match="no such table of labels"):
        preprocess(
            [videos], tmp_path / "clips", labels=tmp_path / "absent.csv",
            key_file=tmp_path / "key",
        )  # fmt: skip
    assert not (tmp_path / "clips/manifest").exists()


def test_a_table_among_the_sources_that_is_not_used_is_told(
    videos: Path, tmp_path: Path
) -> None:
    (videos / "labels.csv").write_text("name,ef\na.avi,50\n")
    (videos / "letter.pdf").touch()
    ears = Ears()
    preprocess([videos], tmp_path / "clips", key_file=tmp_path / "key", reporter=ears)
    assert ears.heard_of("1 labels.csv among the sources is not used")
    assert ears.heard_of("1 file(s) passed over")


@pytest.mark.parametrize("row", ["a.avi,P1,30", "a,P2,55"])
def test_two_rows_beside_the_videos_that_tell_two_things_are_refused(
    videos: Path, tmp_path: Path, row: str
) -> None:
    (videos / "labels.csv").write_text(f"file,patient,ef_percent\na.avi,P1,55\n{row}\n")
    with pytest.raises(EchoError, match=r"Row 2 of labels\.csv contradicts"):
        preprocess([videos], tmp_path / "clips", key_file=tmp_path / "key")


@pytest.mark.parametrize("value", ["55%", "55,5", "0.55", "155", "n/a"])
def test_what_is_no_percentage_is_refused_with_what_would_be_one(
    videos: Path, tmp_path: Path, value: str
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(f'file,ef_percent\na.avi,"{value}"\n')
    with pytest.raises(EchoError, match="Line 2") as refused:
        preprocess([videos], tmp_path / "clips", labels=labels, key_file=tmp_path / "key")
    assert "from 1 to 100" in str(refused.value.remedy)
    assert value not in str(refused.value) + str(refused.value.remedy)


def test_a_table_parts_patients_whom_an_anonymiser_gave_one_number(tmp_path: Path) -> None:
    data = ultrasound(moving_scan())
    data.PatientID = "ANON-0001"
    write_dicom(data, tmp_path / "a.dcm")
    own, told = read(tmp_path / "a.dcm", ""), read(tmp_path / "a.dcm", "P1")
    assert own.patient_key == read(tmp_path / "a.dcm", "ANON-0001").patient_key == "ANON-0001"
    assert told.patient_key == "P1"
    assert "ANON-0001" in identifiers_of("", told.patient_key, told.study_key)


def read_labels(videos: Path, told: str) -> Ears:
    """Make clips with a table of labels; return what was said."""
    table, ears = videos.parent / "labels.csv", Ears()
    table.write_text(told, "utf-8")
    preprocess(
        [videos], videos.parent / "clips", labels=table, key_file=videos.parent / "key",
        workers=1, reporter=ears,
    )  # fmt: skip
    return ears


def test_a_name_of_a_column_may_hold_a_comma_where_semicolons_part(videos: Path) -> None:
    ears = read_labels(videos, "file;EF, %;ef_percent\na.avi;x;55,5\n")
    assert ears.heard_of("labels of 1 of 4 source(s): ef_percent")


def test_empty_lines_below_the_last_are_nobody(videos: Path) -> None:
    ears = read_labels(videos, "patient,ef_percent\nP1,55\n,\n,\n")
    assert ears.heard_of("labels of 1 patient(s): ef_percent")
    assert ears.heard_of("1 of 1 patient(s) in the labels have no clip")


def test_two_columns_of_one_name_are_refused(videos: Path) -> None:
    told = "file,ef_percent, ef_percent\na.avi,55,65\n"
    with pytest.raises(EchoError, match="more than one column ef_percent"):
        read_labels(videos, told)
    (videos / "labels.csv").write_text(told, "utf-8")
    with pytest.raises(EchoError, match=r"labels.csv has more than one column ef_percent"):
        preprocess([videos], videos.parent / "clips", key_file=videos.parent / "key")


def test_a_table_beside_recordings_that_cannot_be_read_is_not_passed_over(videos: Path) -> None:
    (videos / "labels.csv").write_bytes("file,diagnosis\na.avi,\xd6dem\n".encode("latin-1"))
    with pytest.raises(EchoError, match="is not in UTF-8") as caught:
        preprocess([videos], videos.parent / "clips", key_file=videos.parent / "key")
    assert "in Excel as" in caught.value.remedy
