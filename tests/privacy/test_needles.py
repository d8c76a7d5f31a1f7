"""The search finds every disguise, in megabytes, and nothing that stands there by chance."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from echocli.privacy.needles import CHUNK, RAREST, Needles, decades
from echocli.privacy.pseudonyms import Pseudonyms

NAME = "Quillonius^Zaphirella"
NUMBER = "MRN-4711-8"


@pytest.mark.parametrize("secret", [NAME, NUMBER, "J\u00f6rgensen^M\u00e4rta", "12345678"])
@pytest.mark.parametrize("before", range(5))
def test_every_disguise_is_found_at_every_place(secret: str, before: int) -> None:
    disguises = [
        secret.encode(),
        secret.upper().encode() if secret.isascii() else secret.encode(),
        secret.encode()[::-1],
        secret.encode("utf-16-le"),
        secret.encode("utf-16-be"),
        secret.encode().hex().encode(),
        secret.encode().hex().upper().encode(),
    ]
    packed = [base64.b64encode(b"abcdef"[:n] + secret.encode() + b"xyz") for n in range(3)]
    needles = Needles([secret])
    for disguise in [*disguises, *packed]:
        content = b"{ }-"[:before] + b" " + disguise + b" ..."
        assert needles.in_text(content), disguise
        if len(disguise) >= 8:
            assert needles.in_stream(bytes(before) + disguise + bytes(9)), disguise
    assert not needles.in_text(b"nothing of the kind, 1234567 nor MRN-4711-9, Quillonia")


def test_long_pixels_are_searched_to_the_last_byte() -> None:
    needles = Needles([NAME])
    raw = np.frombuffer(NAME.encode(), np.uint8)
    for place in (0, 1, CHUNK - 7, CHUNK - 3, CHUNK, 2 * CHUNK - len(raw) + 5):
        pixels = np.zeros(2 * CHUNK + 5, np.uint8)
        assert not needles.in_pixels(io.BytesIO(pixels.tobytes()))
        pixels[place : place + len(raw)] = raw
        assert needles.in_pixels(io.BytesIO(pixels.tobytes())), place


def test_hashes_and_decimals_do_not_spell_numbers_by_chance() -> None:
    pseudonyms = Pseudonyms(bytes(32))
    digest = pseudonyms.source("x")
    inside = digest[20:26]
    needles = Needles([inside, "33333", "deadbee"])
    assert not needles.in_text(f'{{"sha256": "{digest}"}}'.encode())
    assert not needles.in_text(b'{"rate": 30.333333, "share": 0.33333}')
    assert needles.in_text(f'{{"id": "{inside}"}}'.encode())
    assert needles.in_text(b"patient 33333, seen")


def test_smooth_pictures_do_not_spell_numbers_by_chance() -> None:
    rng = np.random.default_rng(0)
    numbers = [f"{n:08d}" for n in rng.integers(0, 10**8, 500)]
    smooth = (np.cumsum(rng.integers(-2, 3, 20_000_000)) % 90).astype(np.uint8)
    assert not Needles(numbers).in_pixels(io.BytesIO(smooth.tobytes()))
    assert decades(b"55555555") < RAREST < decades(NAME.encode())


def test_own_words_and_short_texts_are_no_identifiers() -> None:
    needles = Needles(["ultrasound", "1234", "UNKNOWN", NUMBER], "an Ultrasound loop, unknown")
    assert needles.identifiers == [NUMBER]


def test_it_agrees_with_a_plain_search() -> None:
    rng = np.random.default_rng(3)
    letters = np.frombuffer(b"ghijklmnop", np.uint8)
    secrets = [bytes(rng.choice(letters, 9)).decode() for _ in range(300)]
    needles = Needles(secrets)
    found = 0
    for trial in range(200):
        content = bytes(rng.choice(letters, 400))
        if trial % 2:
            place = int(rng.integers(0, 391))
            secret = secrets[int(rng.integers(0, 300))].encode()
            content = content[:place] + secret + content[place + 9 :]
        expected = any(
            form in content for text in secrets for form in (text.encode(), text.encode()[::-1])
        )
        assert needles.in_text(content) == needles.in_stream(content) == expected
        found += expected
    assert found >= 100
