"""What of a header is taken over: all that stays true, byte for byte, and nothing that cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from mesr.errors import UnreadableInput
from mesr.io.dicom.carry import as_written, carry
from mesr.io.dicom.header import quiet, read_header


def header(**attributes: object) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    made.PatientName, made.PatientID = "Pat^Ient", "ID7"
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def raw(keyword: str, vr: str, value: bytes) -> RawDataElement:
    return RawDataElement(Tag(keyword), vr, len(value), value, 0, False, True)


def with_bytes(made: Dataset, *elements: RawDataElement) -> Dataset:
    """`made` with elements whose bytes are written as they are, whatever they hold."""
    for element in elements:
        made[element.tag] = element
    return as_written(made)


def read(tmp_path, made: Dataset, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """`made` as the reader gets it from a file."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "source.dcm"
    with quiet():
        dcmwrite(path, made, enforce_file_format=True)
    return read_header(path).dataset


def carried_bytes(tmp_path, source: Dataset, **options: object) -> bytes:
    """The result as it lies in a file."""
    with quiet():
        out = as_written(carry(source, **{"keep_private": False, **options}).dataset)
        buffer = DicomBytesIO()
        buffer.is_implicit_VR, buffer.is_little_endian = False, True
        write_dataset(buffer, out)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (b"ISO_IR 100", b"M\xfcller^J\xf6rg "),
        (b"", b"\xff\xfe\x93undecodable"),
        (b"ISO_IR 192", "山田^太郎".encode()),
        (b"\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        (b"NO SUCH SET ", b"plain "),
    ],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_name_is_carried_byte_for_byte_with_its_character_set(tmp_path, charset, name, syntax):
    name += b" " * (len(name) % 2)
    charset += b" " * (len(charset) % 2)
    with quiet():
        made = with_bytes(
            header(), raw("SpecificCharacterSet", "CS", charset), raw("PatientName", "PN", name)
        )
    made.set_original_encoding(syntax == ImplicitVRLittleEndian, True)
    source = read(tmp_path, made, syntax)
    written = carried_bytes(tmp_path, source)
    assert b"PN" + len(name).to_bytes(2, "little") + name in written
    assert charset.strip() in written


def test_the_source_is_not_changed(tmp_path):
    source = read(tmp_path, header(StudyDescription="Study"))
    before = sorted(source.keys())
    del carry(source, keep_private=False).dataset.StudyDescription
    assert sorted(source.keys()) == before
    assert source.StudyDescription == "Study"


def test_private_elements_are_dropped_unless_asked_for_at_any_depth(tmp_path):
    made = header()
    made.private_block(0x29, "MAKER", create=True).add_new(1, "LO", "old matrix")
    item = Dataset()
    item.StudyID = "1"
    item.private_block(0x29, "MAKER", create=True).add_new(1, "LO", "nested")
    made.RequestAttributesSequence = [item]
    source = read(tmp_path, made)
    assert not any(e.tag.is_private for e in carry(source, keep_private=False).dataset.iterall())
    kept = carry(read(tmp_path, made), keep_private=True).dataset
    assert [e.value for e in kept.iterall() if e.tag.is_private] == ["MAKER", "old matrix", "MAKER", "nested"]


def test_what_is_drawn_on_the_old_pixels_is_dropped_and_told(tmp_path):
    made = header()
    made.add_new(0x60000010, "US", 4)
    made.add_new(0x60003000, "OW", b"\0" * 2)
    made.IconImageSequence = [Dataset()]
    carried = carry(read(tmp_path, made), keep_private=False)
    assert carried.drawn
    assert not {0x60000010, 0x60003000, 0x00880200} & set(carried.dataset.keys())
    assert not carry(read(tmp_path, header()), keep_private=False).drawn


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("DigitalSignaturesSequence", [Dataset()]),
        ("OriginalAttributesSequence", [Dataset()]),
        ("SmallestImagePixelValue", 3),
        ("PixelPaddingRangeLimit", 3),
        ("PixelAspectRatio", ["1", "1"]),
        ("PlanarConfiguration", 0),
        ("SourceImageSequence", [Dataset()]),
        ("RealWorldValueMappingSequence", [Dataset()]),
    ],
)
def test_what_new_pixels_make_false_is_dropped(tmp_path, keyword, value):
    made = header(PixelRepresentation=0)
    setattr(made, keyword, value)
    if keyword in ("SmallestImagePixelValue", "PixelPaddingRangeLimit"):
        made[keyword].VR = "US"
    carried = carry(read(tmp_path, made), keep_private=False)
    assert keyword not in carried.dataset
    assert not carried.damaged


def test_facts_of_the_acquisition_and_of_deidentification_stay(tmp_path):
    facts = {
        "KVP": "120",
        "ConvolutionKernel": "B30f",
        "ReconstructionDiameter": "500",
        "AcquisitionDate": "20200131",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "by hand",
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "10",
        "BurnedInAnnotation": "YES",
        "PresentationLUTShape": "IDENTITY",
        "WindowCenter": "40",
    }
    out = carry(read(tmp_path, header(**facts)), keep_private=False).dataset
    assert {keyword: str(out[keyword].value) for keyword in facts} == facts


@pytest.mark.parametrize(
    "bad",
    [
        raw("SliceThickness", "DS", b"thick "),
        raw("SliceThickness", "DS", b"nan "),
        raw("SeriesNumber", "IS", b"1.5 "),
        raw("InstanceCreatorUID", "UI", b"1.2.3"),
        raw("IrradiationEventUID", "UI", b"1." + b"2" * 68),
        raw("StudyDescription", "US", b"\1\0"),
        raw("Rows", "LO", b"many"),
        raw("Rows", "US", b"\1"),
        raw("StudyDescription", "ZZ", b"bad VR"),
    ],
    ids=lambda bad: f"{bad.VR} {bad.tag}",
)
def test_an_element_that_cannot_be_read_is_left_out_and_named(tmp_path, bad):
    source = with_bytes(header(), bad)
    with quiet():
        carried = carry(source, keep_private=False)
    assert bad.tag not in carried.dataset or carried.dataset[bad.tag].is_empty
    if bad.tag != Tag("InstanceCreatorUID"):
        assert len(carried.damaged) == 1
        assert carried.damaged[0] in (
            "SliceThickness",
            "SeriesNumber",
            "IrradiationEventUID",
            "StudyDescription",
            "Rows",
        )


def test_an_unreadable_element_that_must_be_present_is_left_empty():
    bad = raw("AccessionNumber", "SH", b"Z" * 70000)
    carried = carry(with_bytes(header(), bad), keep_private=False)
    assert carried.dataset["AccessionNumber"].is_empty
    assert carried.damaged == ("AccessionNumber",)


def test_a_decimal_string_that_is_too_long_is_cut_to_sixteen_characters(tmp_path):
    source = with_bytes(header(), raw("SliceThickness", "DS", b"2.50000000000000000001"))
    assert carry(source, keep_private=False).dataset.SliceThickness == 2.5
    assert len(str(carry(source, keep_private=False).dataset["SliceThickness"].value)) <= 16


@pytest.mark.parametrize("keyword", ["PatientID", "PatientName"])
def test_a_patient_that_cannot_be_read_is_refused_rather_than_lost(keyword):
    source = with_bytes(header(), raw(keyword, "UT", b"Z" * 70000)._replace(VR="LO"))
    with pytest.raises(UnreadableInput) as refused:
        carry(source, keep_private=False)
    assert "ZZ" not in str(refused.value)


def test_a_reference_without_a_sound_identifier_is_left_out_whole():
    good, bad = Dataset(), Dataset()
    good.ReferencedSOPClassUID = bad.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    good.ReferencedSOPInstanceUID = "1.2.3"
    with quiet():
        bad.ReferencedSOPInstanceUID = "1.2.x"
        carried = carry(header(ReferencedImageSequence=[bad, good]), keep_private=False)
    assert [item.ReferencedSOPInstanceUID for item in carried.dataset.ReferencedImageSequence] == ["1.2.3"]
    assert carried.damaged == ("ReferencedSOPInstanceUID",)


def test_words_of_a_big_endian_source_are_swapped(tmp_path):
    table = np.arange(1, 5, dtype=np.uint16)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, 16])
    item.add_new("LUTData", "OW", table.astype(">u2").tobytes())
    source = read(tmp_path, header(VOILUTSequence=[item], PixelRepresentation=0), ExplicitVRBigEndian)
    out = carry(source, keep_private=False).dataset
    assert np.frombuffer(out.VOILUTSequence[0].LUTData, "<u2").tolist() == table.tolist()
    assert list(out.VOILUTSequence[0].LUTDescriptor) == [4, 0, 16]


def test_an_ambiguous_vr_of_an_implicit_source_is_resolved(tmp_path):
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [4, -1024, 16])
    item.add_new("LUTData", "OW", b"\1\0\2\0\3\0\4\0")
    source = read(tmp_path, header(VOILUTSequence=[item], PixelRepresentation=1), ImplicitVRLittleEndian)
    out = carry(source, keep_private=False).dataset
    assert list(out.VOILUTSequence[0].LUTDescriptor) == [4, -1024, 16]
    assert out.VOILUTSequence[0]["LUTDescriptor"].VR == "SS"
    assert dcmread(tmp_path / "source.dcm").PatientID == "ID7"
