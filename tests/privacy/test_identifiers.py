"""Names of files and folders are identifiers, unless they are words of the field."""

from __future__ import annotations

import pytest

from echocli.privacy.identifiers import identifiers_of


def test_keys_names_and_folders_are_identifiers() -> None:
    place = "Doe^Jane 1937/study_2/IM-0001-0042.dcm"
    found = identifiers_of(place, "MRN-77\nHospital of Nowhere", "1.2.3.4")
    assert found == {
        "MRN-77", "Hospital of Nowhere", "1.2.3.4", "Doe^Jane 1937", "IM-0001-0042",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["Quillonius.avi", "quillonius", "Smith.nii.gz", "4711x.dcm"])
def test_a_name_made_of_letters_counts(name: str) -> None:
    stem = name.split(".")[0]
    assert stem in identifiers_of(f"dicom/{name}")


@pytest.mark.parametrize(
    "place",
    ["PLAX.avi", "A4C_01.dcm", "apical 4 chamber.mp4", "patient 12/a2c.avi", "amyloid/img.png",
     "test/frame_07.dcm", "2CH_ED.nii.gz", "x.avi"],
)  # fmt: skip
def test_words_of_the_field_name_nobody(place: str) -> None:
    assert identifiers_of(place) == set()


def test_a_folder_of_one_word_is_a_class() -> None:
    assert identifiers_of("sarcoidosis/k17_x2_884.avi") == {"k17_x2_884"}
