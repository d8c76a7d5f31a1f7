"""Which texts around a source may name its patient."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

SHORTEST_IDENTIFIER = 4
"""Shorter texts (``1``, ``A4C``) name nobody by themselves and match by chance."""
MOST_DIGITS = 3
"""Numbers this short beside words of the field (``A4C_01``) count views, not patients."""

_WORDS = """
a ap apical pa parasternal plax psax psl pss plrv sc subcostal suprasternal ssn lax sax long
short axis view chamber two three four five ch c av mv tv pv lv rv la ra lvot rvot ivc aorta
aortic mitral tricuspid pulmonary valve ventricle left right atrium echo echocardiogram
echocardiography tte tee us ultrasound image images img im frame frames clip clips cine loop
loops video videos movie dicom dcm nii avi file files data dataset scan study series stress
rest peak recovery stage baseline normal abnormal control controls healthy patient patients
case cases test train training val valid validation good poor medium fair quality high low
color colour doppler bmode mmode mode cardiomyopathy hypertrophic dilated hcm amyloid
amyloidosis hypertrophy hypertension infarction effusion stenosis regurgitation septal defect
anonymous anonymized anonymised anon deidentified unknown none export exports output original
raw copy new camus echonet dynamic pediatric paediatric lvh rvenet tmed mimic hmc qu cardiacuda
cardiacnet phantom sequence half full gt ed es diastole systole end to of and with
"""
COUNT_DIGITS = 5
"""Numbers this short are everywhere; labels may still not hold one that names a patient."""

WORDS = frozenset(_WORDS.split())
"""Words of the field and of its tools. A file that is called nothing else names nobody, and
labels say the same words."""


def identifiers_of(place: str, *keys: str) -> set[str]:
    """Return the texts that must not be met in any output.

    Args:
        place: Path of the source below its root; folders are often called after patients.
        keys: Raw identifiers from its header, several of them on separate lines.
    """
    found = {line.strip() for key in keys for line in key.split("\n")}
    path = PurePosixPath(place.replace("\\", "/"))
    stem = path.name.split(".")[0] if "." in path.name[1:] else path.name
    found |= {path.stem, stem}
    # A folder of one word is a class (``amyloid/``) more often than a name.
    found |= {folder for folder in path.parts[:-1] if not folder.isalpha()}
    return {
        text for text in found if len(text) >= SHORTEST_IDENTIFIER and not _is_ordinary(text)
    }


def is_like_a_count(text: str) -> bool:
    """Return whether a text cannot be told from a count, a position or the name of a part.

    Files are often called 0001.dcm to 4000.dcm, and every list of sources counts to 4000.
    """
    return text.isdigit() and len(text) <= COUNT_DIGITS


def _is_ordinary(text: str) -> bool:
    """Return whether a text consists of words of the field and small numbers."""
    tokens = re.findall(r"[^\W\d_]+|\d+", text.casefold())
    digits = sum(len(token) for token in tokens if token.isdigit())
    words = (token for token in tokens if not token.isdigit())
    return digits <= MOST_DIGITS and all(word in WORDS for word in words)
