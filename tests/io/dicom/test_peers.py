"""What other programs read of a series we wrote: SimpleITK and dcm2niix."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import require_module, require_program
from derived import corners, magnified, opened
from pydicom import Dataset
from scans import dicom_series

from mesr.geometry import LPS_TO_RAS
from mesr.io.dicom.write import write_series


@pytest.mark.parametrize("tilt", [0.0, 12.0])
def test_simpleitk_reads_the_same_places_and_values(tmp_path, tilt):
    sitk = require_module("SimpleITK")
    made = magnified(opened(dicom_series(tmp_path / "source", tilt=tilt).paths), "1.7")
    write_series(made, tmp_path / "out")
    image = sitk.ReadImage([str(path) for path in sorted((tmp_path / "out").iterdir())])
    np.testing.assert_allclose(image.GetOrigin(), made.geometry.origin, atol=1e-6)
    np.testing.assert_allclose(image.GetSpacing()[:2], made.geometry.spacing[:0:-1], atol=1e-6)
    if not tilt:
        far = image.TransformIndexToPhysicalPoint([n - 1 for n in image.GetSize()])
        np.testing.assert_allclose(far, corners(made.geometry)[-1], atol=1e-6)
    assert np.abs(sitk.GetArrayFromImage(image) - made.array).max() <= 0.5001


def converted(series: Path, folder: Path) -> Path:
    """What dcm2niix makes of a series; the folder with its `scan*.nii`."""
    folder.mkdir()
    command = [require_program("dcm2niix"), "-f", "scan", "-o", folder, series]
    subprocess.run(command, capture_output=True, check=True)
    return folder


def lps_corners(image) -> np.ndarray:
    """LPS mm of the centres of a NIfTI image's outermost voxels, first slice first."""
    ends = [(0, n - 1) for n in image.shape]
    indices = np.array([(i, j, k, 1) for k in ends[2] for i in ends[0] for j in ends[1]])
    return (LPS_TO_RAS @ image.affine @ indices.T)[:3].T


def test_dcm2niix_finds_the_tilt_and_the_distance_of_the_slices(tmp_path):
    def lean(data: Dataset, k: int) -> None:
        data.GantryDetectorTilt = -18.5

    made = magnified(opened(dicom_series(tmp_path / "source", tilt=-18.5, edit=lean).paths), "1.7")
    write_series(made, tmp_path / "out")
    folder = converted(tmp_path / "out", tmp_path / "nifti")
    # dcm2niix keeps the tilted slices without their shear, and resamples them to an upright block beside it.
    found = lps_corners(nib.load(folder / "scan.nii"))[:4]
    for corner in corners(made.geometry)[:4]:
        assert np.abs(found - corner).max(axis=1).min() < 1e-3
    upright = nib.load(folder / "scan_Tilt_1.nii")
    apart = abs(made.geometry.normal @ made.geometry.affine[:3, 0])
    assert np.linalg.norm(upright.affine[:3, 2]) == pytest.approx(apart, abs=1e-3)


def test_dcm2niix_reads_the_same_places_and_values(tmp_path):
    made = magnified(opened(dicom_series(tmp_path / "source").paths), "1.7")
    write_series(made, tmp_path / "out")
    image = nib.load(converted(tmp_path / "out", tmp_path / "nifti") / "scan.nii")
    found = lps_corners(image)
    for corner in corners(made.geometry):
        assert np.abs(found - corner).max(axis=1).min() < 1e-3
    turned = np.transpose(np.asarray(image.dataobj), (2, 1, 0))[:, ::-1]
    assert np.abs(turned - made.array).max() <= 0.5001
