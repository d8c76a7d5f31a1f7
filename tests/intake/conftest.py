"""Fixtures of the intake's tests."""

from pathlib import Path
from typing import Any

import pytest
from made_dicom import MakeDicom, write_dicom
from pydicom import Dataset


@pytest.fixture
def save(tmp_path: Path) -> MakeDicom:
    """Write a dataset to a file with an innocent name."""

    def write(data: Dataset, name: str = "x.dcm", **changes: Any) -> Path:
        for keyword, value in changes.items():
            setattr(data, keyword, value)
        path = tmp_path / name
        write_dicom(data, path)
        return path

    return write
