"""Invented people and machines, planted so that a leak can be found.

Nobody is called so: the names are words that no register holds, the numbers start with letters
that no hospital uses.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

FAMILIES = [
    "Fictivarius",
    "Phantomsen",
    "Nonesuchov",
    "Madeupski",
    "Inventado",
    "Imaginova",
    "Pretendez",
    "Unrealsson",
    "Fabulinger",
    "Makebelieva",
    "Dreamtupp",
    "Mockworthy",
    "Figmentoni",
    "Testopoulos",
    "Falsenstein",
    "Simulakra",
]
GIVEN = [
    "Zaphirella",
    "Quillonius",
    "Mirabeldo",
    "Oxidora",
    "Vexandra",
    "Thumbalina",
    "Yorrickson",
    "Brindolf",
    "Esmerentia",
    "Wobblethorp",
    "Calipsandra",
    "Ferdilonde",
    "Gwendolash",
    "Octaviusz",
    "Pimpernella",
    "Rumbaldo",
]
PLACES = ("Nowhere General", "Utopia Heart Institute", "Atlantis University Clinic")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Everything in a file that could name a person, a place, a day or a machine."""

    family: str
    given: str
    patient_id: str
    accession: str
    birth_date: str
    study_date: str
    study_time: str
    institution: str
    physician: str
    operator: str
    station: str
    serial: str
    study_uid: str
    series_uid: str
    instance_uid: str

    @property
    def name(self) -> str:
        """The name as DICOM writes it."""
        return f"{self.family}^{self.given}"

    def strings(self) -> list[str]:
        """Return every text that must not come out, in the forms in which it went in.

        The bare time of day is left out: six digits turn up in any list of numbers.
        """
        texts = [self.family, self.given, self.patient_id, self.accession, self.birth_date]
        texts += [self.study_date, written(self.study_date), written(self.birth_date)]
        texts += [self.study_date + self.study_time, clock(self.study_time)]
        texts += [self.institution, self.station, self.serial]
        texts += [*self.physician.split("^"), *self.operator.split("^")]
        return [*texts, self.study_uid, self.series_uid, self.instance_uid]


def written(day: str) -> str:
    """Write a DICOM date as a scanner shows it."""
    return f"{day[6:]}.{day[4:6]}.{day[:4]}"


def clock(time: str) -> str:
    """Write a DICOM time as a scanner shows it."""
    return f"{time[:2]}:{time[2:4]}:{time[4:]}"


def draw_identity(seed: int, index: int, age_years: int) -> Identity:
    """Invent the person with this number; the same number is always the same person."""
    rng = np.random.default_rng([seed, index, 101])

    def pick(words: tuple[str, ...] | list[str]) -> str:
        return str(words[rng.integers(len(words))])

    def person() -> str:
        return f"{pick(FAMILIES)}^{pick(GIVEN)}"

    def uid() -> str:
        return f"2.25.{uuid.UUID(bytes=rng.bytes(16), version=4).int}"

    family, given = FAMILIES[index % len(FAMILIES)], GIVEN[index // 16 % len(GIVEN)]
    day = date(2017, 1, 3) + timedelta(days=int(rng.integers(2500)))
    birth = day - timedelta(days=365 * age_years + int(rng.integers(360)))
    time = [int(rng.integers(limit)) for limit in (24, 60, 60)]
    return Identity(
        family=family,
        given=given,
        patient_id=f"ZQ{seed % 1000:03d}{index:05d}{rng.integers(100):02d}",
        accession=f"XACC{rng.integers(10**8, 10**9)}",
        birth_date=birth.strftime("%Y%m%d"),
        study_date=day.strftime("%Y%m%d"),
        study_time="".join(f"{part:02d}" for part in time),
        institution=pick(PLACES),
        physician=person(),
        operator=person(),
        station=f"ROOMQZ{rng.integers(1000, 9999)}",
        serial=f"SNQZ{rng.integers(10**6, 10**7)}",
        study_uid=uid(),
        series_uid=uid(),
        instance_uid=uid(),
    )
