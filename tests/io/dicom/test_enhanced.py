"""One Enhanced object from another: what stays, what changes, and that it is whole or not there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from conftest import require_module
from derived import assert_same, corners, dicom_errors, headers, magnified, opened
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset as Item
from scans import enhanced_file
from volumes import SameSlices, peak_of

from mesr import io
from mesr.errors import TooLarge, UnreadableInput, UsageError
from mesr.io.dicom import discover, streams
from mesr.io.dicom.enhanced import is_whole, write_enhanced
from mesr.io.dicom.write import write_series
from mesr.volume import ArraySlices, Slice, Volume

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PERFUSION = Path(get_testdata_file("eCT_Supplemental.dcm"))


def written(volume: Volume, folder: Path) -> Dataset:
    """`volume` through the one door, and the one object it became."""
    made = io.write(volume, folder)
    assert [path.name for path in made.paths] == ["IM0001.dcm"]
    return dcmread(made.paths[0])


def item(**attributes: object) -> Item:
    made = Item()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def described(data: Dataset, k: int) -> None:
    """What `scans` leaves out of a scanner's functional groups."""
    shared = data.SharedFunctionalGroupsSequence[0]
    kind = item(
        FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        PixelPresentation="COLOR",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )
    shared.CTImageFrameTypeSequence = [kind]
    shared.FrameVOILUTSequence = [item(WindowCenter="40", WindowWidth="400")]
    shared.CTXRayDetailsSequence = [item(KVP="110")]
    shared.RealWorldValueMappingSequence = [
        item(
            LUTLabel="HU",
            RealWorldValueSlope=1.0,
            RealWorldValueIntercept=-1024.0,
            RealWorldValueFirstValueMapped=0,
            RealWorldValueLastValueMapped=40000,
        )
    ]
    for name in ("First", "Last"):
        shared.RealWorldValueMappingSequence[0][f"RealWorldValue{name}ValueMapped"].VR = "US"
    for n, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence[0].FrameAcquisitionNumber = n + 1
        frame.CTExposureSequence = [item(ExposureInmAs=100.0 + n)]
    data.PixelSpacing, data.SliceLocation = [9, 9], "7"
    data.ConcatenationUID, data.InConcatenationNumber = "1.2.3", 1


def test_a_real_object_becomes_one_as_sound_as_itself(tmp_path):
    made = magnified(opened([PERFUSION]), "1.5")
    after, before = written(made, tmp_path / "out"), dcmread(PERFUSION)
    assert_same(made, tmp_path / "out")
    assert not dicom_errors(tmp_path / "out" / "IM0001.dcm") - dicom_errors(PERFUSION)
    assert after.SOPClassUID == before.SOPClassUID
    assert after.NumberOfFrames == 2
    assert list(after.ImageType) == ["DERIVED", "PRIMARY", "PERFUSION", "RESAMPLED"]
    assert (after.PixelPresentation, after.ContentQualification) == ("MONOCHROME", "RESEARCH")
    shared, old = after.SharedFunctionalGroupsSequence[0], before.SharedFunctionalGroupsSequence[0]
    for keyword in ("ContrastBolusUsageSequence", "FrameAnatomySequence", "FrameVOILUTSequence"):
        assert shared[keyword].value == old[keyword].value, keyword
    assert shared.PixelMeasuresSequence[0].SliceThickness == 10
    assert after.PatientName == before.PatientName
    assert after.FrameOfReferenceUID == before.FrameOfReferenceUID


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("scale", ["1", "1.3x2.2"])
def test_values_and_places_read_back(tmp_path, modality, scale):
    scan = enhanced_file(tmp_path / "source.dcm", modality=modality, tilt=12.0)
    made = magnified(opened(scan.paths), scale)
    written(made, tmp_path / "out")
    assert_same(made, tmp_path / "out")
    assert not dicom_errors(tmp_path / "out" / "IM0001.dcm") - dicom_errors(scan.paths[0])


def test_padding_reads_back_where_it_was(tmp_path):
    scan = enhanced_file(
        tmp_path / "source.dcm", signed=True, bits_stored=16, intercepts=(0.0,), padding=-1500
    )
    made = magnified(opened(scan.paths))
    assert made.slices[0].padding.any()
    assert written(made, tmp_path / "out").PixelPaddingValue == -1500
    assert_same(made, tmp_path / "out")


@pytest.mark.parametrize("keep", [False, True])
def test_private_elements_of_a_frame_are_kept_only_where_they_are_asked_for(tmp_path, keep):
    def secret(data: Dataset, k: int) -> None:
        for holder in (data, *data.PerFrameFunctionalGroupsSequence):
            holder.private_block(0x2005, "SCANNER", create=True).add_new(1, "LO", "ZZPHI")
        data.PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0].FrameComments = "kept"

    made = magnified(opened(enhanced_file(tmp_path / "source.dcm", edit=secret).paths))
    report = io.write(made, tmp_path / "out", keep_private=keep)
    assert report.notes == ()
    assert (b"ZZPHI " in report.paths[0].read_bytes()) is keep
    after = dcmread(report.paths[0])
    assert after.PerFrameFunctionalGroupsSequence[4].FrameContentSequence[0].FrameComments == "kept"
    for holder in (after, *after.PerFrameFunctionalGroupsSequence):
        assert ((0x2005, 0x1001) in holder) is keep


def test_simpleitk_reads_the_same_places_and_values(tmp_path):
    sitk = require_module("SimpleITK")
    made = magnified(opened([PERFUSION]), "1.5")
    written(made, tmp_path / "out")
    image = sitk.ReadImage(str(tmp_path / "out" / "IM0001.dcm"))
    np.testing.assert_allclose(image.GetOrigin(), made.geometry.origin, atol=1e-6)
    far = image.TransformIndexToPhysicalPoint([n - 1 for n in image.GetSize()])
    np.testing.assert_allclose(far, corners(made.geometry)[-1], atol=1e-6)
    assert np.abs(sitk.GetArrayFromImage(image) - made.array).max() <= 0.5001


def test_every_frame_says_where_it_is_and_what_it_was_made_from(tmp_path):
    scan = enhanced_file(tmp_path / "source.dcm")
    made = magnified(opened(scan.paths))
    after, before = written(made, tmp_path / "out"), dcmread(scan.paths[0])
    for k, frame in enumerate(after.PerFrameFunctionalGroupsSequence):
        content = frame.FrameContentSequence[0]
        assert (content.StackID, content.InStackPositionNumber) == ("1", k + 1)
        assert content.DimensionIndexValues == [1, k + 1]
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        np.testing.assert_allclose(place, made.geometry.position(k, 0, 0), atol=1e-6)
        derivation = frame.DerivationImageSequence[0]
        assert derivation.DerivationCodeSequence[0].CodeValue == "113085"
        (source,) = derivation.SourceImageSequence
        assert source.ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert source.ReferencedFrameNumber == 5 - k
        assert source.SpatialLocationsPreserved == "NO"
    pointers = [index.DimensionIndexPointer for index in after.DimensionIndexSequence]
    assert pointers == [0x00209056, 0x00209057]
    organizations = {index.DimensionOrganizationUID for index in after.DimensionIndexSequence}
    assert organizations == {after.DimensionOrganizationSequence[0].DimensionOrganizationUID}
    evidence = after.SourceImageEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert [one.ReferencedSOPInstanceUID for one in evidence] == [before.SOPInstanceUID]


def test_groups_stay_where_they_were_and_change_where_pixels_did(tmp_path):
    scan = enhanced_file(tmp_path / "source.dcm", edit=described)
    after = written(magnified(opened(scan.paths), "2"), tmp_path / "out")
    shared = after.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.4, 0.35]
    assert shared.CTXRayDetailsSequence[0].KVP == 110
    assert shared.FrameVOILUTSequence[0].WindowCenter == 40
    assert list(shared.CTImageFrameTypeSequence[0].FrameType) == ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    assert shared.CTImageFrameTypeSequence[0].PixelPresentation == "MONOCHROME"
    transformation = shared.PixelValueTransformationSequence[0]
    assert (transformation.RescaleSlope, transformation.RescaleIntercept) == (1, -1024)
    assert transformation.RescaleType == "HU"
    mapping = shared.RealWorldValueMappingSequence[0]
    assert (mapping.RealWorldValueIntercept, mapping.RealWorldValueFirstValueMapped) == (-1024, 0)
    assert mapping.RealWorldValueLastValueMapped == 32767
    assert mapping["RealWorldValueLastValueMapped"].VR == "SS"
    for k, frame in enumerate(after.PerFrameFunctionalGroupsSequence):
        assert frame.FrameContentSequence[0].FrameAcquisitionNumber == 5 - k
        assert frame.CTExposureSequence[0].ExposureInmAs == 104.0 - k
        assert "PixelValueTransformationSequence" not in frame
        assert "PixelMeasuresSequence" not in frame
    for stale in ("PixelSpacing", "SliceLocation", "ConcatenationUID", "InConcatenationNumber"):
        assert stale not in after, stale


def test_a_mapping_of_numbers_that_mean_something_else_now_is_dropped(tmp_path):
    slopes = (1.0, 2.0, 0.5, 1.0, 1.0)
    scan = enhanced_file(tmp_path / "source.dcm", slopes=slopes, intercepts=(0.0,), edit=described)
    made = magnified(opened(scan.paths))
    after = written(made, tmp_path / "out")
    shared = after.SharedFunctionalGroupsSequence[0]
    assert shared.PixelValueTransformationSequence[0].RescaleSlope == 0.5
    assert "RealWorldValueMappingSequence" not in shared
    assert_same(made, tmp_path / "out")


def test_positions_in_time_become_objects_of_their_own(tmp_path):
    def twice(data: Dataset, k: int) -> None:
        for n, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
            frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 2.5 * (n // 2)]
            frame.FrameContentSequence[0].TemporalPositionIndex = n % 2 + 1
            kind = item(FrameType=["ORIGINAL", "PRIMARY", ("VOLUME", "LOCALIZED")[n % 2], "NONE"])
            frame.CTImageFrameTypeSequence = [kind]
        data.ImageType = ["ORIGINAL", "PRIMARY", "MIXED", "NONE"]

    scan = enhanced_file(tmp_path / "source.dcm", size=(6, 16, 20), edit=twice)
    parts = [found.open() for found in discover(scan.paths).series]
    assert ["split-by-phase" in {note.code for note in part.notes} for part in parts] == [True, True]
    objects = [written(magnified(part), tmp_path / str(n)) for n, part in enumerate(parts)]
    assert len({one.SOPInstanceUID for one in objects}) == 2
    for n, one in enumerate(objects):
        assert one.NumberOfFrames == 3
        assert one.ImageType[2] == ("VOLUME", "LOCALIZED")[n]
        contents = [frame.FrameContentSequence[0] for frame in one.PerFrameFunctionalGroupsSequence]
        assert {content.TemporalPositionIndex for content in contents} == {n + 1}
        assert [content.DimensionIndexValues for content in contents] == [[1, 1], [1, 2], [1, 3]]


def test_the_files_of_a_concatenation_become_one_object(tmp_path):
    def part(number: int):
        def edit(data: Dataset, k: int) -> None:
            described(data, k)
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
            data.SharedFunctionalGroupsSequence[0].CTXRayDetailsSequence[0].KVP = str(100 + number)

        return edit

    paths = []
    for number in (1, 2):
        origin = (-100.0, -80.0, 30.0 + 7.5 * (number - 1))
        scan = enhanced_file(
            tmp_path / f"{number}.dcm", size=(3, 16, 20), origin=origin, seed=number, edit=part(number)
        )
        paths += scan.paths
    made = magnified(opened(paths))
    after = written(made, tmp_path / "out")
    assert_same(made, tmp_path / "out")
    shared, frames = after.SharedFunctionalGroupsSequence[0], after.PerFrameFunctionalGroupsSequence
    assert "FrameVOILUTSequence" in shared
    assert "CTXRayDetailsSequence" not in shared
    assert [frame.CTXRayDetailsSequence[0].KVP for frame in frames] == [101] * 3 + [102] * 3
    assert len(after.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 2


def test_the_same_job_gives_the_same_bytes_and_other_identifiers_than_classic_images(tmp_path):
    made = magnified(opened(enhanced_file(tmp_path / "source.dcm").paths))
    for name in ("one.dcm", "two.dcm"):
        write_enhanced(made, tmp_path / name, now=NOW)
    assert (tmp_path / "one.dcm").read_bytes() == (tmp_path / "two.dcm").read_bytes()
    write_series(made, tmp_path / "classic", now=NOW)
    whole, slices = dcmread(tmp_path / "one.dcm"), headers(tmp_path / "classic")
    assert whole.SeriesInstanceUID != slices[0].SeriesInstanceUID
    assert whole.SOPInstanceUID not in {one.SOPInstanceUID for one in slices}
    assert whole.SOPInstanceUID == whole.file_meta.MediaStorageSOPInstanceUID


def test_what_the_last_frame_settles_stands_in_the_header(tmp_path):
    source = opened(enhanced_file(tmp_path / "source.dcm").paths)
    array = source.array.copy()
    array[1, 0, :2] = array[4, 0, 0] = 40000

    class Last(ArraySlices):
        def __getitem__(self, k: int, /) -> Slice:
            return super().__getitem__(k)._replace(residual=float(k))

    made = replace(magnified(source, "1"), slices=Last(array))
    report = write_enhanced(made, tmp_path / "out.dcm")
    assert report.clipped == 3
    assert [note.code for note in report.notes] == ["clipped"]
    told = dcmread(tmp_path / "out.dcm").DerivationDescription
    assert "Clipped voxels: 3." in told
    assert "at most 4 HU." in told
    assert len(told) <= 1024


def test_memory_does_not_grow_with_the_frames(tmp_path):
    source = opened(enhanced_file(tmp_path / "source.dcm", size=(60, 16, 16)).paths)
    made = magnified(source, "32")
    image = Slice(np.zeros(made.geometry.size[1:], np.float32))
    made = replace(made, slices=SameSlices(image, 60))
    peak = peak_of(lambda: write_enhanced(made, tmp_path / "out.dcm"))
    assert (tmp_path / "out.dcm").stat().st_size > 60 * 512 * 512 * 2
    assert peak < 8 << 20


def test_a_failure_leaves_nothing_behind(tmp_path):
    source = opened(enhanced_file(tmp_path / "source.dcm").paths)

    class Failing:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, k: int, /) -> Slice:
            if k == 3:
                raise UnreadableInput("cut-short", "The file ends early.")
            return source.slices[k]

    with pytest.raises(UnreadableInput):
        io.write(replace(magnified(source, "1"), slices=Failing()), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source.dcm"]


def test_an_object_whose_header_we_would_not_read_is_refused_before_it_is_computed(tmp_path, monkeypatch):
    made = magnified(opened(enhanced_file(tmp_path / "source.dcm").paths))

    class Untouched:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, k: int, /) -> Slice:
            raise AssertionError("asked for a slice")

    made.source.header(0)  # Read, and kept, within the real limit.
    monkeypatch.setattr(streams, "MAX_HEADER_BYTES", 2000)
    with pytest.raises(TooLarge) as refused:
        write_enhanced(replace(made, slices=Untouched()), tmp_path / "out.dcm")
    assert refused.value.code == "header-too-large"
    assert "dicom-classic" in refused.value.fix
    assert not (tmp_path / "out.dcm").exists()


def test_a_name_that_ends_in_dcm_is_the_file_of_all_frames(tmp_path):
    made = magnified(opened(enhanced_file(tmp_path / "source.dcm").paths))
    assert io.write(made, tmp_path / "out.dcm").paths == (tmp_path / "out.dcm",)
    assert dcmread(tmp_path / "out.dcm").NumberOfFrames == 5


def test_classic_images_are_written_where_they_are_asked_for(tmp_path):
    made = magnified(opened(enhanced_file(tmp_path / "source.dcm").paths))
    report = io.write(made, tmp_path / "out", format="dicom-classic")
    assert [note.code for note in report.notes] == ["enhanced-flattened"]
    assert len(report.paths) == 5
    assert_same(made, tmp_path / "out")
    with pytest.raises(UsageError) as refused:
        io.write(made, tmp_path / "one.dcm", format="dicom-classic")
    assert refused.value.code == "needs-folder"


def test_what_one_object_cannot_hold_is_written_as_classic_images(tmp_path):
    made = magnified(opened(enhanced_file(tmp_path / "source.dcm").paths))
    assert is_whole(made)
    rows, columns = 20_000, 30_000

    class Many:
        def __len__(self) -> int:
            return 5

    large = replace(made, geometry=replace(made.geometry, size=(5, rows, columns)), slices=Many())
    assert not is_whole(large)
    series = made.source
    legacy = "1.2.840.10008.5.1.4.1.1.2.2"
    converted = replace(
        series, instances=tuple(replace(one, sop_class_uid=legacy) for one in series.instances)
    )
    assert not is_whole(replace(made, source=converted))
