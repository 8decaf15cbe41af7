"""Volumes as a network would leave them, computed lazily by linear interpolation, and what a writer made of them."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from conftest import require_program
from pydicom import Dataset, dcmread

from mesr.geometry import Geometry
from mesr.grid import Axis, Target
from mesr.io.dicom import discover
from mesr.volume import Derivation, Slice, Volume

RESIDUAL = 1.25


class LinearSlices:
    """In-plane linear interpolation of another volume's slices; padding by its nearest pixel."""

    def __init__(self, volume: Volume, rows: Axis, columns: Axis) -> None:
        self._volume, self._rows, self._columns = volume, rows, columns

    def __len__(self) -> int:
        return len(self._volume.slices)

    def __getitem__(self, k: int, /) -> Slice:
        image = self._volume.slices[k]
        values = _along(_along(image.values, self._rows).T, self._columns).T
        padding = None
        if image.padding is not None:
            nearest = np.ix_(self._rows.nearest().pixel, self._columns.nearest().pixel)
            padding = image.padding[nearest]
            values = np.where(padding, image.values[nearest], values)
        return Slice(values.astype(np.float32), padding, RESIDUAL)


def magnified(volume: Volume, scale: str = "2.5") -> Volume:
    """`volume` on a finer grid, with the derivation a network would leave."""
    grid = Target.of(scale=scale).grid(volume.geometry.size, volume.spacing)
    made = Derivation(
        "linear", "0123456789abcdef" * 4, grid, f"scale {scale}", "none", "float32", 1, "Trained on nothing."
    )
    return replace(
        volume,
        geometry=volume.geometry.resampled(grid),
        slices=LinearSlices(volume, grid.rows, grid.columns),
        derivation=made,
    )


def opened(paths: Sequence[Path]) -> Volume:
    """The one volume that DICOM files hold."""
    (series,) = discover(paths).series
    return series.open()


def headers(folder: Path) -> list[Dataset]:
    """All DICOM files of a folder in the order of their names."""
    return [dcmread(path) for path in sorted(folder.iterdir())]


def corners(geometry: Geometry) -> np.ndarray:
    """(8, 3) LPS mm: the centres of the outermost voxels."""
    ends = [(0, n - 1) for n in geometry.size]
    return np.array([geometry.position(k, i, j) for k in ends[0] for i in ends[1] for j in ends[2]])


def assert_same(written: Volume, folder: Path, step: float = 1.0) -> None:
    """What is read from `folder` lies where `written` lies and differs by at most half a stored step."""
    back = opened(sorted(folder.iterdir()))
    assert back.geometry.size == written.geometry.size
    assert np.abs(corners(back.geometry) - corners(written.geometry)).max() < 1e-3
    assert (back.modality, back.unit) == (written.modality, written.unit)
    for k in range(len(back.slices)):
        ours, theirs = written.slices[k], back.slices[k]
        assert np.abs(ours.values - theirs.values).max() <= 0.5001 * step
        assert (ours.padding is None) == (theirs.padding is None)
        if ours.padding is not None:
            np.testing.assert_array_equal(ours.padding, theirs.padding)


def dicom_errors(path: Path) -> Counter[str]:
    """What dciodvfy finds wrong."""
    done = subprocess.run(
        [require_program("dciodvfy"), path], capture_output=True, text=True, errors="replace", check=False
    )
    return Counter(line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error"))


def _along(values: np.ndarray, axis: Axis) -> np.ndarray:
    """Linear interpolation along the first axis, its ends continued."""
    at = np.clip(axis.coordinates(), 0, axis.size_in - 1)
    low = np.clip(np.floor(at).astype(int), 0, max(axis.size_in - 2, 0))
    high = np.minimum(low + 1, axis.size_in - 1)
    part = (at - low)[:, None]
    return np.asarray(values[low] * (1 - part) + values[high] * part)
