"""Every real series lies, as read and as written, where `dicom.md` §2 puts it, within 1e-3 mm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np
import pydicom
import pytest
from derived import magnified, opened
from found import files, only
from pydicom import Dataset

from mesr.errors import MesrError
from mesr.grid import round_half_up
from mesr.io.dicom import discover, open_slices
from mesr.io.dicom.write import write_series
from mesr.volume import Volume

FOLDERS = (
    "geometry/tilt-18.5",
    "test/COVID-19-NY-SBU",
    "test/CatPhan504-CBCT",
    "test/LungFCP-01-0006",
    "test/MalePelvis",
    "test/TCGA-BC-A10X",
    "test/dcm_qa_ct-GE-head",
    "train/CCTH-A01",
    "train/CMB-CRC-MSB-01068",
    "train/LungFCP-01-0001",
    "train/Lung_Dx-A0001-B",
    "train/Lung_Dx-A0001-L",
    "train/ReMIND-022-T1c",
    "train/ReMIND-022-T2SPACE",
    "train/TCGA-BC-A3KF",
    "val/KiTS-00072",
    "val/Lung_Dx-A0002-B40f",
    "val/Lung_Dx-A0002-B70f",
    "val/MalePelvis",
)
SCALE = "1.3"
LONGEST_STEP = 90.0
"""mm; beyond 100 no two slices are taken for neighbours."""

T = TypeVar("T")
Formula = Callable[[float, float, float], np.ndarray]


def ends_and_middle(things: Sequence[T]) -> list[T]:
    return [things[n] for n in sorted({0, len(things) // 2, len(things) - 1})]


def headers_of(paths: Sequence[Path]) -> list[Dataset]:
    """Headers as pydicom reads them, along the normal."""
    found = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    row, column = directions(found[0])
    return sorted(found, key=lambda h: float(np.cross(row, column) @ np.array(h.ImagePositionPatient, float)))


def directions(header: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """r along a row and c down the image."""
    values = np.array(header.ImageOrientationPatient, float)
    return values[:3], values[3:]


def formula(headers: Sequence[Dataset], scale: str = "1") -> Formula:
    """P(k, i, j) of the series magnified by `scale` over the same field of view."""
    row, column = directions(headers[0])
    old = np.array(headers[0].PixelSpacing, float)
    sizes = (headers[0].Rows, headers[0].Columns)
    di, dj = (d * n / round_half_up(n * Fraction(scale)) for d, n in zip(old, sizes, strict=True))
    first, last = (np.array(h.ImagePositionPatient, float) for h in (headers[0], headers[-1]))
    step = (last - first) / max(1, len(headers) - 1)
    origin = first + (di - old[0]) / 2 * column + (dj - old[1]) / 2 * row
    return lambda k, i, j: origin + k * step + i * di * column + j * dj * row


def assert_in_place(volume: Volume, expected: Formula) -> None:
    """The corners of the first, the middle and the last slice."""
    slices, rows, columns = volume.geometry.size
    for k in ends_and_middle(range(slices)):
        for i, j in ((0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1)):
            np.testing.assert_allclose(volume.geometry.position(k, i, j), expected(k, i, j), atol=1e-3)


def paths_of(volume: Volume) -> list[Path]:
    return [instance.path for instance in volume.source.instances]


def thinned(volume: Volume) -> Volume:
    """Three slices of `volume`, evenly far apart: the first, and the middle and last where those are near enough."""
    paths = paths_of(volume)
    if len(paths) < 3:
        return volume
    apart = max(1, min((len(paths) - 1) // 2, int(LONGEST_STEP / volume.spacing[0])))
    return opened(paths[: 2 * apart + 1 : apart])


@pytest.mark.parametrize("name", FOLDERS)
def test_a_real_series_lies_where_the_formula_puts_it_as_read_and_as_written(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    found = discover(files(shared_data / name))
    assert found.series
    assert not found.refused
    for n, series in enumerate(ends_and_middle(found.series)):
        volumes = [series.open()] if series.error is None else ends_and_middle(open_slices(series))
        for m, volume in enumerate(volumes):
            assert_in_place(volume, formula(headers_of(paths_of(volume))))
            part = thinned(volume)
            written = tmp_path / f"{n}-{m}"
            write_series(magnified(part, SCALE), written)
            expected = formula(headers_of(paths_of(part)), SCALE)
            assert_in_place(opened(files(written)), expected)
            for k, header in enumerate(headers_of(files(written))):
                position = np.array(header.ImagePositionPatient, float)
                np.testing.assert_allclose(position, expected(k, 0, 0), atol=1e-3)


def test_no_real_series_is_left_out_here(shared_data: Path) -> None:
    folders = {path.parent for path in shared_data.rglob("*.dcm")}
    assert {folder.relative_to(shared_data).as_posix() for folder in folders} == set(FOLDERS)


def test_the_real_tilted_series_keeps_its_shear(shared_data: Path) -> None:
    geometry = only(shared_data / "geometry/tilt-18.5").open().geometry
    assert geometry.tilt_degrees == pytest.approx(18.5, abs=0.05)


def test_the_uneven_head_is_read_one_by_one_with_its_padding_marked(shared_data: Path) -> None:
    found = only(shared_data / "test/dcm_qa_ct-GE-head")
    assert isinstance(found.error, MesrError)
    assert found.error.code == "uneven-slices"
    volumes = open_slices(found)
    assert len(volumes) == 28
    image = volumes[5].slices[0]
    assert image.padding is not None
    assert set(np.unique(image.values[image.padding])) == {-1500.0}
    assert image.values[~image.padding].min() > -1500
