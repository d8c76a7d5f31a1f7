"""Every transfer syntax, colour model and depth, by its source and by another decoder."""

from typing import Any

import numpy as np
import pydicom
import pytest
from made_dicom import MakeDicom
from made_syntaxes import COLOUR, Recipe, recipes
from numpy.typing import NDArray

from echocli.intake.decode import can_decode, decode, missing_decoder
from echocli.intake.dicom import read_header
from echocli.intake.extent import check_pixels
from echocli.intake.guard import quiet
from echocli.intake.pixels import Gatherer

RECIPES = {recipe.name: recipe for recipe in recipes()}


def decoded(save: MakeDicom, recipe: Recipe) -> Gatherer:
    path = save(recipe.build())
    with quiet():
        header = read_header(path)
        check_pixels(path, header)
        return decode(path, header, None)


@pytest.mark.parametrize("name", RECIPES)
def test_grey_is_the_luma_that_was_stored(save: MakeDicom, name: str) -> None:
    recipe = RECIPES[name]
    got = decoded(save, recipe)
    assert got.frames.shape == recipe.grey.shape
    error = np.abs(got.frames - recipe.grey.astype(float))
    assert error.max() <= recipe.worst
    assert error.mean() <= recipe.mean
    if recipe.grey.shape == COLOUR.shape[:3] and np.ptp(recipe.grey[:, 8:16, 8:24]) < 30:
        assert got.chroma[10:14, 12:20].min() > 120  # the red patch


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.judged])
def test_pydicom_agrees(save: MakeDicom, name: str) -> None:
    """Other libraries: pylibjpeg's plugins, Pillow, pyjpegls, and pydicom's own RLE."""
    recipe = RECIPES[name]
    got = decoded(save, recipe).frames
    data = recipe.build()
    data.file_meta.TransferSyntaxUID = pydicom.uid.UID(data.file_meta.TransferSyntaxUID)
    with quiet():
        try:
            theirs = judged(data)
        except (RuntimeError, NotImplementedError) as error:
            pytest.skip(f"pydicom has no plugin here: {type(error).__name__}")
    error = np.abs(got - theirs)
    assert error.max() <= max(recipe.worst, 1.01)
    assert error.mean() <= recipe.mean


def judged(data: pydicom.Dataset) -> NDArray[Any]:
    """Return the luma of what pydicom decodes."""
    pixels = data.pixel_array.astype(float)
    if data.PhotometricInterpretation == "MONOCHROME1":
        pixels = 255 - pixels
    if pixels.ndim == 4:
        return pixels @ np.array([0.299, 0.587, 0.114])
    return np.floor(pixels / 2 ** (data.BitsStored - 8))


def test_every_syntax_of_the_standard_has_a_recipe_or_no_decoder() -> None:
    made = {str(recipe.build().file_meta.TransferSyntaxUID) for recipe in RECIPES.values()}
    for syntax in made:
        assert can_decode(syntax)
        assert missing_decoder(syntax) == ""
    unknown = [f"1.2.840.10008.1.2.4.{number}" for number in (92, 93, 94, 95)]
    for syntax in (*unknown, "1.2.840.10008.1.2.4.50.1", "1.2.3", ""):
        assert not can_decode(syntax)
