"""What discovery makes of a folder, for tests of reading DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scans import Scan

from mesr.io.dicom import FoundSeries, discover
from mesr.volume import Volume


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def only(folder: Path) -> FoundSeries:
    found = discover(files(folder))
    assert not found.refused
    assert len(found.series) == 1
    return found.series[0]


def code_of(folder: Path) -> str:
    error = only(folder).error
    assert error is not None
    return error.code


def assert_same(volume: Volume, scan: Scan) -> None:
    """Values equal, and every corner within 1e-3 mm of the formula."""
    np.testing.assert_array_equal(volume.array, scan.values)
    for k, position in enumerate(scan.positions):
        np.testing.assert_allclose(volume.geometry.position(k, 0, 0), position, atol=1e-3)
