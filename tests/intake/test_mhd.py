import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_dicom import moving_scan

from echocli.intake.read import describe, read_loop
from echocli.intake.reasons import Reason, Refused
from echocli.intake.sources import Content, content_of

SCAN = moving_scan(10, 40, 60)


def save(folder: Path, data: bytes, name: str = "x.mhd", **fields: Any) -> Path:
    """Write a header and its data, beside it or in the same file."""
    told = {
        "ObjectType": "Image",
        "NDims": 3,
        "DimSize": "60 40 10",
        "ElementSpacing": "0.2 0.3 1",
        "ElementType": "MET_UCHAR",
        **fields,
    }
    local = name.endswith("mha")
    told.setdefault("ElementDataFile", "LOCAL" if local else "x.raw")
    path = folder / name
    header = "".join(f"{key} = {value}\n" for key, value in told.items()).encode()
    path.write_bytes(header + (data if local else b""))
    if not local:
        (folder / "x.raw").write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["x.mhd", "x.mha"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("packed", ["", "zlib", "gzip"])
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("UCHAR", "u1"), ("SHORT", "i2"), ("USHORT", "u2"), ("INT", "i4"), ("DOUBLE", "f8")],
)
def test_every_way_of_storing(
    tmp_path: Path, name: str, big: bool, packed: str, kind: str, dtype: str
) -> None:
    data = SCAN.astype(("<", ">")[big] + dtype).tobytes()
    if packed:
        data = zlib.compress(data) if packed == "zlib" else gzip.compress(data)
    path = save(
        tmp_path,
        data,
        name,
        ElementType=f"MET_{kind}",
        CompressedData=bool(packed),
        BinaryDataByteOrderMSB=big,
    )
    assert content_of(path) is Content.MHD
    loop = read_loop(path)
    np.testing.assert_array_equal(loop.frames, SCAN)
    assert loop.spacing_mm == (0.3, 0.2)
    assert describe(path).frames == 10


def test_a_header_in_the_data_is_skipped(tmp_path: Path) -> None:
    for size in (-1, 77):
        path = save(tmp_path, bytes(range(77)) + SCAN.tobytes(), HeaderSize=size)
        np.testing.assert_array_equal(read_loop(path).frames, SCAN)


WHOLE = zlib.compress(SCAN.tobytes())


@pytest.mark.parametrize(
    ("data", "fields", "reason"),
    [
        (WHOLE[:-1], {"CompressedData": True}, Reason.TRUNCATED),
        (WHOLE[:99], {"CompressedData": True}, Reason.TRUNCATED),
        (b"", {"CompressedData": True}, Reason.EMPTY),
        (WHOLE[:50] + b"?" + WHOLE[51:], {"CompressedData": True}, Reason.UNDECODABLE),
        (zlib.compress(bytes(1 << 20)), {"CompressedData": True}, Reason.UNDECODABLE),
        (SCAN.tobytes() + b"\0", {}, Reason.UNDECODABLE),
        (SCAN.tobytes(), {"HeaderSize": 1}, Reason.TRUNCATED),
        (SCAN.tobytes(), {"HeaderSize": "one"}, Reason.UNREADABLE),
        (SCAN.tobytes(), {"ElementType": "MET_ULONG_LONG"}, Reason.NO_DECODER),
        (SCAN.tobytes(), {"ElementNumberOfChannels": 3}, Reason.NO_DECODER),
        (SCAN.tobytes(), {"BinaryData": False}, Reason.NO_DECODER),
        (SCAN.tobytes(), {"ElementDataFile": "../x.raw"}, Reason.UNREADABLE),
        (SCAN.tobytes(), {"ElementDataFile": ".."}, Reason.UNREADABLE),
        (SCAN.tobytes(), {"ElementDataFile": "LIST"}, Reason.UNREADABLE),
        (SCAN.tobytes(), {"ElementDataFile": "x.raw\0"}, Reason.UNREADABLE),
        (
            SCAN.tobytes(),
            {"ElementType": "MET_DOUBLE", "DimSize": "6000 4000 9"},
            Reason.OUT_OF_MEMORY,
        ),
        (
            (SCAN.astype("<i2") - 200).tobytes(),
            {"ElementType": "MET_SHORT"},
            Reason.UNDECODABLE,
        ),
        (
            np.full(SCAN.shape, np.nan).tobytes(),
            {"ElementType": "MET_DOUBLE"},
            Reason.UNDECODABLE,
        ),
    ],
)
def test_what_lies_or_is_broken_is_refused(
    tmp_path: Path, data: bytes, fields: dict[str, Any], reason: Reason
) -> None:
    with pytest.raises(Refused) as caught:
        read_loop(save(tmp_path, data, **fields))
    assert caught.value.reason is reason
