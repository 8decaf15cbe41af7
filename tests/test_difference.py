"""The map of what a result adds to plain interpolation: right values in the right place, or nothing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from derived import dicom_errors, magnified, opened
from pydicom import Dataset, dcmread
from scans import Scan, dicom_series, enhanced_file
from volumes import SameSlices, peak_of

import mesr
from mesr import job
from mesr.grid import Target
from mesr.volume import Slice


@pytest.fixture(autouse=True)
def _maps() -> None:
    require("highdicom", importlib.util.find_spec("highdicom") is not None)


def classic(folder: Path, **changes: object) -> Scan:
    return dicom_series(folder / "source", **changes)


def enhanced(folder: Path, **changes: object) -> Scan:
    return enhanced_file(folder / "source" / "one.dcm", **changes)


def done(folder: Path, **settings: object) -> job.Outcome:
    """The one study of `folder`, bicubic, with a difference map."""
    found = job.discover([folder / "source"])
    wanted = job.Settings(model="bicubic", difference=True, **settings)  # type: ignore[arg-type]
    (outcome,) = job.run_all(found, Target.of(scale="1.5"), folder / "out", wanted)
    return outcome


def by_slice(path: Path, volume: mesr.Volume) -> tuple[Dataset, list[tuple[Dataset, np.ndarray]]]:
    """A map, and for each slice of `volume` the groups and the pixels of the frame that lies there."""
    data = dcmread(path)
    frames = list(zip(data.PerFrameFunctionalGroupsSequence, data.pixel_array, strict=True))
    found = []
    for k in range(len(volume.slices)):
        place = volume.geometry.position(k, 0, 0)
        (there,) = (
            frame
            for frame in frames
            if np.abs(np.array(frame[0].PlanePositionSequence[0].ImagePositionPatient, float) - place).max()
            < 1e-3
        )
        found.append(there)
    return data, found


@pytest.mark.parametrize("make", [classic, enhanced])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_map_holds_the_result_less_the_interpolated_input_in_its_place(
    tmp_path: Path, make: Callable[..., Scan], modality: str
) -> None:
    make(tmp_path, modality=modality, tilt=10.0)
    outcome = done(tmp_path)
    assert outcome.difference == tmp_path / "out" / f"{modality}-{outcome.id}.difference.dcm"
    result = opened(outcome.outputs)
    plain = mesr.upscale(tmp_path / "source", scale="1.5", model="sinc")
    data, frames = by_slice(outcome.difference, result)
    for k, (_, pixels) in enumerate(frames):
        np.testing.assert_array_equal(pixels, result.slices[k].values - plain.slices[k].values)
    assert data.pixel_array.any()
    shared = data.SharedFunctionalGroupsSequence[0]
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == pytest.approx(list(result.spacing[1:]))
    assert shared.PixelMeasuresSequence[0].SliceThickness == 2.5
    mapping = shared.RealWorldValueMappingSequence[0]
    unit = mapping.MeasurementUnitsCodeSequence[0]
    assert unit.CodeValue == {"CT": "[hnsf'U]", "MR": "1"}[modality]
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    concept = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    assert concept.CodeValue == {"CT": "112031", "MR": "110852"}[modality]
    assert not dicom_errors(outcome.difference)


def test_the_map_refers_to_the_derived_series_frame_by_frame(tmp_path: Path) -> None:
    classic(tmp_path)
    outcome = done(tmp_path)
    images = [dcmread(path, stop_before_pixels=True) for path in outcome.outputs]
    data, frames = by_slice(outcome.difference, opened(outcome.outputs))
    for image, (groups, _) in zip(images, frames, strict=True):
        (derivation,) = groups.DerivationImageSequence
        assert derivation.DerivationCodeSequence[0].CodeValue == "113062"
        (source,) = derivation.SourceImageSequence
        assert source.ReferencedSOPInstanceUID == image.SOPInstanceUID
        assert source.SpatialLocationsPreserved == "YES"
    assert data.ReferencedSeriesSequence[0].SeriesInstanceUID == images[0].SeriesInstanceUID
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientName", "PatientID"):
        assert data[keyword].value == images[0][keyword].value, keyword
    assert data.SeriesNumber not in (3, images[0].SeriesNumber)
    assert "Research use only" in data.DerivationDescription


def test_its_series_number_is_new_in_the_study(tmp_path: Path) -> None:
    classic(tmp_path)
    dicom_series(tmp_path / "source" / "other", series="1.2.826.0.1.3680043.8.498.1.7", series_number=2003)
    found = job.discover([tmp_path / "source"])
    wanted = job.Settings(model="bicubic", difference=True)
    outcomes = list(job.run_all(found, Target.of(scale="1.5"), tmp_path / "out", wanted))
    maps = [dcmread(outcome.difference).SeriesNumber for outcome in outcomes]
    assert sorted(maps) == [3003, 4003]


def test_highdicom_reads_the_same_values_in_the_same_places(tmp_path: Path) -> None:
    from highdicom.pm import ParametricMap

    classic(tmp_path)
    outcome = done(tmp_path)
    result = opened(outcome.outputs)
    _, frames = by_slice(outcome.difference, result)
    read = ParametricMap.from_file(outcome.difference).get_volume()
    # By its rule for the direction of a stack, slices here go from the highest down.
    np.testing.assert_array_equal(read.array[::-1], np.stack([pixels for _, pixels in frames]))
    np.testing.assert_allclose(read.affine[:3, 3], result.geometry.position(4, 0, 0), atol=1e-6)
    np.testing.assert_allclose(read.affine[:3, 1:3], result.geometry.affine[:3, 1:3], atol=1e-6)


def test_nothing_of_it_is_imported_where_no_map_is_asked_for(tmp_path: Path) -> None:
    classic(tmp_path)
    code = (
        "import sys; from pathlib import Path; from mesr import job; from mesr.grid import Target;"
        "list(job.run_all(job.discover([Path('source')]), Target.of(scale=2), Path('out'), job.Settings(model='sinc')));"
        "sys.exit('highdicom' in sys.modules or 'mesr.difference' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "out").is_dir()


def test_the_same_map_gets_the_same_identifiers(tmp_path: Path) -> None:
    classic(tmp_path)
    keywords = ("SOPInstanceUID", "SeriesInstanceUID", "DimensionOrganizationSequence")
    first, second = (
        [dcmread(done(tmp_path, force=True).difference)[keyword].value for keyword in keywords]
        for _ in range(2)
    )
    assert first == second


def test_memory_does_not_grow_with_the_slices(tmp_path: Path) -> None:
    from mesr.difference import _quantity
    from mesr.io.dicom.parametric_map import write_map

    made = magnified(opened(enhanced(tmp_path, size=(60, 16, 16)).paths), "32")
    image = Slice(np.ones(made.geometry.size[1:], np.float32))
    made = replace(made, slices=SameSlices(image, 60))
    peak = peak_of(lambda: write_map(made, tmp_path / "map.dcm", _quantity(made)))
    assert (tmp_path / "map.dcm").stat().st_size > 60 * 512 * 512 * 4
    assert peak < 16 << 20


def test_a_map_beside_another_format_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    classic(tmp_path)
    outcome = done(tmp_path, format="nifti")
    assert outcome.error is not None
    assert outcome.error.code == "difference-format"
    assert not (tmp_path / "out").exists()


def test_without_highdicom_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classic(tmp_path)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    monkeypatch.setitem(sys.modules, "highdicom.pm", None)
    outcome = done(tmp_path)
    assert isinstance(outcome.error, mesr.errors.MissingExtra)
    assert "mesr[maps]" in outcome.error.fix
    assert not (tmp_path / "out").exists()


def test_a_map_that_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    classic(tmp_path)
    first = done(tmp_path)
    for path in first.outputs:
        path.unlink()
    again = done(tmp_path)
    assert again.error is not None
    assert again.error.code == "exists"
    assert done(tmp_path, force=True).difference == first.difference


def test_images_that_say_too_little_for_a_map_give_the_result_and_a_note(tmp_path: Path) -> None:
    def nowhere(data: Dataset, k: int) -> None:
        del data.FrameOfReferenceUID

    classic(tmp_path, edit=nowhere)
    outcome = done(tmp_path)
    assert (outcome.status, outcome.difference, len(outcome.outputs)) == ("done", None, 5)
    assert [note.code for note in outcome.notes] == ["no-difference"]
    assert "ZZPHI" not in repr(outcome.notes)
