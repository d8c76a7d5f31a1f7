"""Labels: what is let through, how it is read, what is refused."""

import pytest

from echocli.clips.record import Label
from echocli.errors import EchoError, PrivacyError
from echocli.privacy.labels import LONGEST_TEXT, MOST_VALUES, check_values, clean, clean_row


def test_unknown_columns_stay_behind() -> None:
    raw = {"ef_percent": "55.5", "PatientName": "Invented", "note": "x", "weight": "70"}
    assert clean(raw) == {"ef_percent": 55.5}
    assert clean(raw, ["weight"]) == {"ef_percent": 55.5, "weight": 70.0}


def test_values_are_read_as_what_their_column_holds() -> None:
    raw = {
        "normal": "False", "ed_frame": "12.0", "split": "TRAIN", "age_years": "97",
        "view": " A4C ", "edv_ml": "", "esv_ml": "nan", "sex": None,
    }  # fmt: skip
    assert clean(raw) == {
        "normal": False, "ed_frame": 12, "split": "train", "age_years": 89.0,
        "view": "A4C", "edv_ml": None, "esv_ml": None, "sex": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ef_percent", "high"),
        ("normal", "perhaps"),
        ("split", "holdout"),
        ("ed_frame", "x"),
        ("ed_frame", "inf"),
        ("es_frame", "nan0"),
        ("fold", "99999999999"),
    ],
)
def test_a_value_that_its_column_cannot_hold_names_the_column(column: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{column}$"):
        clean({column: value})


def test_texts_that_may_name_a_person_are_refused() -> None:
    check_values("view", ["A4C", "PLAX", None, 3.0], {"MRN-0042"})
    for values in (
        ["x mrn-0042 y"],
        [424242],
        [424242.0],
        ["2010"],
        ["a" * (LONGEST_TEXT + 1)],
        [f"class {n}" for n in range(MOST_VALUES + 1)],
    ):
        with pytest.raises(PrivacyError):
            check_values("view", values, {"MRN-0042", "424242", "2010"})
    check_values("weight", [2010, 424242.5, "iE33 of 2010"], {"424242", "2010"})


def test_an_age_that_is_no_number_is_none() -> None:
    assert clean({"age_years": "-inf"}) == {"age_years": None}


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+1+cmd|' /C calc'!A1", "-HYPERLINK(A1)"])
def test_what_a_spreadsheet_would_run_is_no_class(text: str) -> None:
    with pytest.raises(PrivacyError, match="formula"):
        check_values("view", ["A4C", text], set())


def test_a_sign_alone_is_a_class() -> None:
    check_values("view", ["+", "-", "-1 to 0", "a=b", "+ve"], set())


@pytest.mark.parametrize("column", ["ef_percent", "rvef_percent"])
def test_percentages_of_a_users_table_are_from_1_to_100(column: str) -> None:
    for text in ("1", "55.5", "100", ""):
        assert clean_row({column: text}, "Row 1")[column] == (float(text) if text else None)
    for text in ("0.99", "0.55", "100.1", "-5", "1e9"):
        with pytest.raises(
            EchoError, match=f"Row 1 holds something else than `{column}`"
        ) as no:
            clean_row({column: text}, "Row 1")
        assert "from 1 to 100" in no.value.remedy
    assert clean_row({"weight_kg": "0.5"}, "Row 1") == {"weight_kg": 0.5}
    with pytest.raises(EchoError) as no:
        clean_row({"weight_kg": "heavy"}, "Row 1")
    assert "from 1 to 100" not in no.value.remedy


def test_whole_numbers_are_those_that_a_clip_set_holds() -> None:
    assert clean({"fold": str(2**31 - 1)}) == {"fold": 2**31 - 1}
    with pytest.raises(ValueError, match="fold"):
        clean({"fold": str(2**31)})


@pytest.mark.parametrize(
    "value", ["2021-03-04", "4.3.2021", "04/03/21", "op 2021.03.04", "20210304", 20210304.0]
)
def test_a_day_is_no_class(value: Label) -> None:
    with pytest.raises(PrivacyError, match="holds dates"):
        check_values("diagnosis", ["mild", value], [])


@pytest.mark.parametrize(
    "value", ["1/2", "3-4", "1.2", "grade 2021", "20219999", 20219999.0, "v1.2.3456789", 55.5]
)
def test_grades_years_and_numbers_are_no_days(value: Label) -> None:
    check_values("diagnosis", ["mild", value], [])


@pytest.mark.parametrize("age", ["200", "-4", "1956"])
def test_an_age_that_nobody_has_is_not_cut_off_at_89(age: str) -> None:
    with pytest.raises(EchoError, match="`age_years` can hold") as caught:
        clean_row({"age_years": age}, "Line 2")
    assert "years from 0 to 130" in caught.value.remedy
    assert clean_row({"age_years": "104"}, "Line 2") == {"age_years": 89.0}
