"""The header of a derived image, row by row of what must change and what must stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from derived import headers, magnified, opened
from pydicom import Dataset, dcmread
from pydicom.uid import JPEGExtended12Bit
from scans import dicom_series, enhanced_file

from mesr.errors import UnsupportedInput
from mesr.io.dicom.describe import derivation_description, series_description
from mesr.io.dicom.write import write_series

NOW = datetime(2026, 1, 2, 23, 30, 5, 250000, tzinfo=UTC)


def complete(data: Dataset, k: int) -> None:
    """What `scans` leaves out of a scanner's header."""
    data.SpecificCharacterSet = "ISO_IR 100"
    data.SeriesDescription, data.StudyDescription = "Thorax 2.5", "Study"
    data.AcquisitionDate, data.AcquisitionTime, data.ContentDate, data.ContentTime = (
        "20200131",
        "101112",
        "20200131",
        "101113",
    )
    data.SliceLocation, data.WindowCenter, data.WindowWidth = "17", "40", "400"
    data.LossyImageCompression, data.LossyImageCompressionRatio = "01", "9.5"
    data.PatientName = "Müller^Jörg"
    older = Dataset()
    older.Manufacturer = "Older"
    older.PurposeOfReferenceCodeSequence = [Dataset()]
    data.ContributingEquipmentSequence = [older]


@pytest.fixture
def source(tmp_path):
    return opened(dicom_series(tmp_path / "source", edit=complete).paths)


@pytest.fixture
def pair(source, tmp_path):
    """Header of the second slice, before and after."""
    write_series(magnified(source, "1.5x2.5"), tmp_path / "out", now=NOW)
    return dcmread(source.source.instances[1].path), headers(tmp_path / "out")[1]


def test_patient_study_and_frame_of_reference_are_the_sources(pair):
    before, after = pair
    for keyword in [
        "SpecificCharacterSet",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "AccessionNumber",
        "ReferringPhysicianName",
        "StudyDescription",
        "FrameOfReferenceUID",
        "ImageOrientationPatient",
        "SliceThickness",
        "WindowCenter",
        "WindowWidth",
        "AcquisitionDate",
        "AcquisitionTime",
        "Manufacturer",
        "KVP",
        "AcquisitionNumber",
        "Modality",
        "SOPClassUID",
        "LossyImageCompression",
        "LossyImageCompressionRatio",
        "PhotometricInterpretation",
    ]:
        assert after[keyword].value == before[keyword].value, keyword


def test_series_and_instance_have_new_identifiers(pair):
    before, after = pair
    for keyword in ("SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber"):
        assert after[keyword].value != before[keyword].value
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID
    assert after.SOPClassUID == after.file_meta.MediaStorageSOPClassUID
    assert after.file_meta.ImplementationClassUID.startswith("2.25.")
    assert after.file_meta.FileMetaInformationVersion == b"\0\1"
    assert (after.SeriesNumber, after.InstanceNumber) == (1003, 2)


def test_the_image_says_that_it_is_derived_and_resampled(pair):
    _, after = pair
    assert list(after.ImageType) == ["DERIVED", "SECONDARY", "AXIAL", "RESAMPLED"]
    assert after.SeriesDescription == "Thorax 2.5 SR linear x1.5x2.5 research only"
    assert after.DerivationCodeSequence[0].CodeValue == "113085"
    told = after.DerivationDescription
    for part in (
        "not for diagnosis",
        "with linear",
        "0123456789abcdef" * 4,
        "1.5x2.5",
        "0.8 x 0.7",
        "1.25 HU",
    ):
        assert part in told
    assert "Clipped voxels: 0." in told
    assert len(told) <= 1024
    assert told.isascii()


def test_the_source_image_and_its_whole_series_are_referenced(pair, source):
    before, after = pair
    (image,) = after.SourceImageSequence
    assert image.ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert image.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert image.SpatialLocationsPreserved == "NO"
    (series,) = after.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == before.SeriesInstanceUID
    assert [i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence] == [
        i.sop_instance_uid for i in source.source.instances
    ]


def test_this_software_is_credited_behind_what_came_before(pair):
    _, after = pair
    older, ours = after.ContributingEquipmentSequence
    assert older.Manufacturer == "Older"
    assert ours.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert ours.SoftwareVersions[0] == "0123456789abcdef" * 4
    assert ours.DeviceUID.is_valid
    assert ours.ContributionDateTime == "20260102233005.250000+0000"


def test_dates_are_of_now_in_the_sources_time_zone(source, tmp_path):
    def zoned(data, k):
        data.TimezoneOffsetFromUTC = "+0530"

    other = opened(dicom_series(tmp_path / "zoned", edit=zoned).paths)
    write_series(other, tmp_path / "out", now=NOW)
    after = headers(tmp_path / "out")[0]
    for name in ("InstanceCreation", "Series", "Content"):
        assert (after[f"{name}Date"].value, after[f"{name}Time"].value) == ("20260103", "050005.250000")
    assert after.StudyDate == "20200102"


def test_pixels_are_described_as_they_are_stored(pair):
    before, after = pair
    rows, columns = before.Rows * 3 // 2, before.Columns * 5 // 2
    assert (after.Rows, after.Columns) == (rows, columns)
    assert (after.BitsAllocated, after.BitsStored, after.HighBit, after.PixelRepresentation) == (
        16,
        16,
        15,
        1,
    )
    assert (after.RescaleSlope, after.RescaleIntercept, after.RescaleType) == (1, -1024, "HU")
    assert after["PixelData"].VR == "OW"
    assert len(after.PixelData) == 2 * rows * columns


def test_positions_follow_the_formula(pair, source):
    _, after = pair
    dy, dx = 0.8 / 1.5, 0.7 / 2.5
    assert after.PixelSpacing == pytest.approx([dy, dx], abs=1e-9)
    first = source.geometry.position(1, 0, 0)
    wanted = first + np.array([(dx - 0.7) / 2, (dy - 0.8) / 2, 0])
    np.testing.assert_allclose(after.ImagePositionPatient, wanted, atol=1e-9)
    assert pytest.approx(after.SliceLocation) == wanted[2]
    assert all(len(str(x)) <= 16 for x in [*after.ImagePositionPatient, *after.PixelSpacing])


def test_monochrome1_is_kept(tmp_path):
    source = opened(dicom_series(tmp_path / "source", monochrome1=True).paths)
    write_series(magnified(source), tmp_path / "out")
    assert headers(tmp_path / "out")[0].PhotometricInterpretation == "MONOCHROME1"


@pytest.mark.parametrize(
    ("modality", "image_type", "third"),
    [("CT", None, "AXIAL"), ("MR", None, "OTHER"), ("MR", ["ORIGINAL", "PRIMARY", "M", "ND"], "M")],
)
def test_the_third_value_of_image_type_is_the_sources_or_a_valid_one(tmp_path, modality, image_type, third):
    def retyped(data, k):
        data.ImageType = image_type

    source = opened(dicom_series(tmp_path / "source", modality=modality, edit=retyped).paths)
    write_series(magnified(source), tmp_path / "out")
    assert list(headers(tmp_path / "out")[0].ImageType) == ["DERIVED", "SECONDARY", third, "RESAMPLED"]


@pytest.mark.parametrize(("signed", "vr"), [(True, "SS"), (False, "SS")])
def test_padding_takes_the_vr_of_the_new_representation(tmp_path, signed, vr):
    padding = -1500 if signed else 4000
    scan = dicom_series(tmp_path / "source", signed=signed, bits_stored=16 if signed else 12, padding=padding)
    write_series(magnified(opened(scan.paths)), tmp_path / "out")
    element = headers(tmp_path / "out")[0]["PixelPaddingValue"]
    assert (element.VR, element.value) == (vr, padding)


def test_an_image_without_a_place_gets_none(tmp_path):
    def unplaced(data, k):
        del data.ImagePositionPatient, data.ImageOrientationPatient

    source = opened(dicom_series(tmp_path / "source", size=(1, 16, 20), edit=unplaced).paths)
    write_series(magnified(source), tmp_path / "out")
    after = headers(tmp_path / "out")[0]
    assert "ImagePositionPatient" not in after
    assert after.PixelSpacing == pytest.approx([0.8 / 2.5, 0.7 / 2.5])


def test_values_without_an_account_of_themselves_are_not_called_resampled(source, tmp_path):
    write_series(source, tmp_path / "out")
    after = headers(tmp_path / "out")[0]
    assert list(after.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert "not recorded" in after.DerivationDescription
    assert after.SourceImageSequence[0].SpatialLocationsPreserved == "YES"


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_an_enhanced_object_becomes_classic_images_and_says_so(tmp_path, modality):
    def grouped(data, k):
        shared = data.SharedFunctionalGroupsSequence[0]
        group = Dataset()
        if modality == "CT":
            group.KVP, group.FilterType = "110", "WEDGE"
            shared.CTXRayDetailsSequence = [group]
            exposure = Dataset()
            exposure.ExposureTimeInms = 512.4
            shared.CTExposureSequence = [exposure]
            del data.KVP
        else:
            data.EchoPulseSequence, data.Spoiling, data.PulseSequenceName = "GRADIENT", "RF", "T1TFE"
            group.EffectiveEchoTime = 4.6
            shared.MREchoSequence = [group]
        for n, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
            frame.FrameContentSequence[0].FrameAcquisitionNumber = n + 1
            frame.FrameContentSequence[0].FrameAcquisitionDateTime = f"2020013110111{n}.5+0100"

    scan = enhanced_file(tmp_path / "enhanced.dcm", modality=modality, edit=grouped)
    report = write_series(magnified(opened(scan.paths)), tmp_path / "out")
    assert [note.code for note in report.notes] == ["enhanced-flattened"]
    files = headers(tmp_path / "out")
    assert len(files) == 5
    for k, after in enumerate(files):
        assert after.SOPClassUID.name == f"{modality} Image Storage"
        assert after.ImageType[2] == ("AXIAL" if modality == "CT" else "OTHER")
        assert "NumberOfFrames" not in after
        assert "SharedFunctionalGroupsSequence" not in after
        frame = 5 - k
        assert after.SourceImageSequence[0].ReferencedFrameNumber == frame
        assert (after.AcquisitionNumber, after.AcquisitionTime) == (frame, f"10111{frame - 1}.5")
        assert len(after.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1
    if modality == "CT":
        assert (after.KVP, after.FilterType, after.ExposureTime) == (110, "WEDGE", 512)
    else:
        assert (after.EchoTime, after.ScanningSequence, after.SequenceVariant) == (4.6, "GR", "SP")
        assert after.SequenceName == "T1TFE"


def test_a_lossy_source_makes_a_lossy_result_even_if_it_does_not_say_so(tmp_path):
    source = opened(dicom_series(tmp_path / "source", syntax=JPEGExtended12Bit).paths)
    write_series(magnified(source), tmp_path / "out")
    after = headers(tmp_path / "out")[0]
    assert (after.LossyImageCompression, after.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert 1 < after.LossyImageCompressionRatio < 30


def test_pixels_that_identify_a_patient_are_told(tmp_path):
    def burned(data, k):
        data.BurnedInAnnotation = "YES"

    source = opened(dicom_series(tmp_path / "source", edit=burned).paths)
    report = write_series(magnified(source), tmp_path / "out")
    assert [note.code for note in report.notes] == ["identifying-pixels"]


def test_a_source_of_another_class_is_refused(source, tmp_path):
    series = source.source
    other = replace(series, instances=tuple(replace(i, sop_class_uid="1.2.3") for i in series.instances))
    with pytest.raises(UnsupportedInput) as refused:
        write_series(replace(magnified(source), source=other), tmp_path / "out")
    assert refused.value.code == "sop-class"
    assert not (tmp_path / "out").exists()


def test_a_long_description_is_cut_and_keeps_what_was_made(source):
    made = magnified(source).derivation
    text = series_description("x" * 64, made)
    assert len(text) == 64
    assert text.endswith(" SR linear x2.5 research only")
    assert series_description("", made) == "SR linear x2.5 research only"


def test_a_long_derivation_keeps_its_beginning_and_stays_within_its_limit(source):
    made = replace(magnified(source).derivation, training="Ж\n\\" * 2000)
    text = derivation_description(
        made, source.geometry, unit="HU", clipped=3, residual=None, thickness="", earlier="e" * 500
    )
    assert len(text) <= 1024
    assert text.startswith("Research use only")
    assert "Clipped voxels: 3." in text
    assert text.isascii()
    assert "\\" not in text
