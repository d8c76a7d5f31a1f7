"""The shapes that travel through the core, named once."""

from __future__ import annotations

from typing import TypeAlias

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

Grid: TypeAlias = tuple[int, int, int]
"""Tubelets along time, height and width. Token ``id = (t * height + row) * width + column``."""

Video: TypeAlias = Float[Tensor, "batch channels frames height width"]
"""Normalised clips."""

Grey: TypeAlias = Shaped[Tensor, "batch 1 frames height width"]
"""Clips that are not normalised yet, of 0 to 255, whole numbers or not."""

Tokens: TypeAlias = Float[Tensor, "batch tokens dim"]
"""One vector a tubelet."""

TokenIds: TypeAlias = Int[Tensor, "rows kept"]
"""Which tokens a row keeps, ascending. ``rows`` is a multiple of the batch: row
``b * views + v`` is view ``v`` of clip ``b``."""

Places: TypeAlias = Int[Tensor, "batch places"]
"""Which columns of the grid may be seen, normally the sector's: ``row * width + column``,
ascending, equally many a clip."""

Sector: TypeAlias = Float[Tensor, "batch height width"]
"""Above 0 where a clip's picture holds any of the scan; all else is black in every frame."""

TokenMask: TypeAlias = Bool[Tensor, "rows tokens"]
"""True where a token is hidden."""

Embedding: TypeAlias = Float[Tensor, "batch embedding"]
"""One vector a clip."""

Scalar: TypeAlias = Float[Tensor, ""]
"""One number that may stay on the device."""
