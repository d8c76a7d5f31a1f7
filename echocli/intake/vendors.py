"""Whose scanner made a file, in one word of our own."""

from __future__ import annotations

VENDORS = {
    "acuson": "Siemens",
    "siemens": "Siemens",
    "philips": "Philips",
    "hewlett": "Philips",
    "atl": "Philips",
    "ge ": "GE",
    "g.e.": "GE",
    "gems": "GE",
    "general electric": "GE",
    "vingmed": "GE",
    "toshiba": "Canon",
    "canon": "Canon",
    "aloka": "Hitachi",
    "hitachi": "Hitachi",
    "fujifilm": "Fujifilm",
    "sonosite": "Fujifilm",
    "esaote": "Esaote",
    "samsung": "Samsung",
    "medison": "Samsung",
    "mindray": "Mindray",
    "agilent": "Philips",
    "butterfly": "Butterfly",
    "konica": "Konica Minolta",
    "terason": "Terason",
    "teratech": "Terason",
    "clarius": "Clarius",
}
"""Beginnings of what Manufacturer holds, and whose scanner it is. Only these words are shown:
free text of a header may hold anything."""


def vendor_of(manufacturer: str) -> str | None:
    """Return whose scanner it is, ``other`` if unknown, ``None`` if the header does not say."""
    maker = f"{manufacturer.lower()} "
    if not maker.strip():
        return None
    return next((name for start, name in VENDORS.items() if maker.startswith(start)), "other")
