"""What of a source's header a derived one takes over: everything that new pixels do not make false.

Text is taken over byte for byte, with the character set that goes with it: who the patient is must not pass
through a decoder. An element that cannot be read is left out and named, so that what is written can be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr_element, write_data_element, write_sequence
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STR_VR

from ...errors import UnreadableInput
from .encoding import ds
from .identity import is_uid

Element = DataElement | RawDataElement

_WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_PATIENT = {0x00100010: "name", 0x00100020: "identifier"}


def tags(keywords: str) -> frozenset[int]:
    """The tags of keywords separated by blanks."""
    return frozenset(int(Tag(keyword)) for keyword in keywords.split())


DRAWN = tags("IconImageSequence GraphicAnnotationSequence")
"""Drawn on the source's pixel grid, as are the overlays (60xx) and curves (50xx)."""

_DROPPED = DRAWN | tags(
    # Signed or recorded for the bytes of the source (PS3.3 C.12.1.1.3, C.12.1.1.9).
    "DigitalSignaturesSequence MACParametersSequence OriginalAttributesSequence EncryptedAttributesSequence "
    # Stored numbers of the old representation (C.7.6.3), or told anew by the writer.
    "SmallestImagePixelValue LargestImagePixelValue SmallestPixelValueInSeries LargestPixelValueInSeries "
    "SmallestImagePixelValueInPlane LargestImagePixelValueInPlane PixelPaddingValue PixelPaddingRangeLimit "
    "ModalityLUTSequence RealWorldValueMappingSequence HistogramSequence PlanarConfiguration "
    "RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor "
    "BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData GreenPaletteColorLookupTableData "
    "BluePaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData "
    "SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData "
    # Counted in pixels or frames of the old grid.
    "PixelAspectRatio NumberOfFrames FrameIncrementPointer RepresentativeFrameNumber ShutterShape "
    "ShutterLeftVerticalEdge ShutterRightVerticalEdge ShutterUpperHorizontalEdge ShutterLowerHorizontalEdge "
    "CenterOfCircularShutter RadiusOfCircularShutter VerticesOfThePolygonalShutter "
    # Of the file that is being derived from; PixelDataProviderURL leads to its pixels.
    "SourceImageSequence InstanceCreatorUID PixelDataProviderURL "
    "StorageMediaFileSetUID InstanceOriginStatus"
)


_MAY_BE_EMPTY = tags(
    "StudyDate StudyTime AccessionNumber Manufacturer ReferringPhysicianName PatientBirthDate PatientSex "
    "SliceThickness KVP StudyID AcquisitionNumber Laterality PositionReferenceIndicator"
)
"""Type 2 in the modules of CT and MR images: without a value rather than absent (PS3.5 7.4.3)."""


class Carried(NamedTuple):
    """A new data set with what was taken over.

    Attributes:
        dataset: its text elements are still raw bytes.
        damaged: keywords or tags of elements that could not be read and were left out, or empty.
        drawn: overlays, curves, icons or annotations were left out.
    """

    dataset: Dataset
    damaged: tuple[str, ...]
    drawn: bool


def carry(
    header: Dataset,
    *,
    keep_private: bool,
    leave: frozenset[int] = frozenset(),
    keep: frozenset[int] = frozenset(),
) -> Carried:
    """Take over what stays true of `header`, which is not changed.

    Args:
        header: of the source, or one item of its functional groups, in any encoding, without pixel data.
        keep_private: also the private elements; they may hold the old geometry, and patient data.
        leave: further tags to leave out, unread.
        keep: tags to take over that are left out otherwise, since here the stored numbers mean what they meant.

    Raises:
        UnreadableInput: code `damaged-header`; the patient's name or identifier cannot be taken over.
    """
    out = Dataset()
    damaged: list[str] = []
    drawn = False
    encodings = character_set(header)
    for tag in header.keys():  # noqa: SIM118 - iterating a Dataset itself would decode every element
        drawn |= _is_drawn(tag)
        if tag in leave or not (tag in keep or _stays(tag, keep_private)):
            continue
        element = _sound(header, tag, keep_private, damaged, encodings)
        if element is not None:
            # Past Dataset.add, which would decode it.
            out[tag] = element
        elif tag in _PATIENT:
            raise UnreadableInput(
                "damaged-header", f"The patient's {_PATIENT[tag]} in the source cannot be read."
            )
        else:
            damaged.append(keyword_for_tag(tag) or str(tag))
            if tag in _MAY_BE_EMPTY:
                out.add_new(tag, dictionary_VR(tag), None)
    return Carried(out, tuple(dict.fromkeys(damaged)), drawn)


def character_set(dataset: Dataset) -> list[str]:
    """Python's names of the encodings that SpecificCharacterSet (PS3.3 C.12.1.1.2) asks for."""
    return convert_encodings(dataset.get("SpecificCharacterSet") or "")


def as_written(dataset: Dataset) -> Dataset:
    """Tell pydicom that the raw elements are in the encoding of the file to come, so that it writes them as they are."""
    charset = character_set(dataset) if "SpecificCharacterSet" in dataset else default_encoding
    dataset.set_original_encoding(False, True, charset)
    return dataset


def encoded_items(items: Iterable[Dataset], encodings: list[str]) -> bytes:
    """The items of a sequence in Explicit VR Little Endian, for a `raw_sequence` many files share."""
    buffer = _buffer()
    write_sequence(buffer, DataElement(0x00081115, "SQ", Sequence(items)), encodings)
    return buffer.getvalue()


def raw_sequence(keyword: str, items: bytes) -> RawDataElement:
    """A sequence whose items are encoded already."""
    return RawDataElement(Tag(keyword), "SQ", len(items), items, 0, False, True)


def _is_drawn(tag: BaseTag) -> bool:
    return tag in DRAWN or (not tag.is_private and tag.group & 0xFF00 in (0x5000, 0x6000))


def _stays(tag: BaseTag, keep_private: bool) -> bool:
    if tag.is_private:
        return keep_private and tag.group > 8
    outside = tag.group < 0x0008 or tag.group in (0x7FE0, 0xFFFC, 0xFFFA) or tag.element == 0
    return not (outside or _is_drawn(tag) or tag in _DROPPED)


def _sound(
    header: Dataset, tag: BaseTag, keep_private: bool, damaged: list[str], encodings: list[str]
) -> Element | None:
    """The element as it can be written and read again; None where it cannot."""
    try:
        raw = header.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.value is not None:
            vr = _vr(raw)
            if vr in STR_VR:
                return _text(raw, vr)
        element = _decoded(header, tag, [header], keep_private, damaged)
        if element is None:
            return None
        buffer = _buffer()
        write_data_element(buffer, element, encodings)
        # Longer than its VR allows, pydicom would write it as UN.
        return element if buffer.getvalue()[4:6] == element.VR.encode() else None
    except Exception:
        # Decoding a damaged value may raise anything, and what it says quotes the value.
        return None


def _vr(element: Element) -> str | None:
    """The VR by the file or, where that has none, by the dictionary; text and numbers are never taken for each other."""
    if element.tag.is_private:
        return element.VR
    try:
        known = dictionary_VR(element.tag)
    except KeyError:
        return element.VR
    if element.VR in (None, "UN"):
        return known
    if (element.VR in STR_VR) != (known in STR_VR):
        raise ValueError("another kind of value than the dictionary's")
    return element.VR


def _text(raw: RawDataElement, vr: str) -> RawDataElement | None:
    value = raw.value or b""
    if vr == "UI":
        if not _are_uids(value.decode("ascii", "replace").split("\\")):
            return None
    elif vr == "DS":
        value = b"\\".join(_decimal(part) for part in value.split(b"\\"))
    elif vr == "IS":
        for part in value.split(b"\\"):
            if part.strip(b" \0"):
                int(part.strip(b" \0"))
    if len(value) % 2:
        value += b"\0" if vr == "UI" else b" "
    if len(value) > 0xFFFE and vr not in EXPLICIT_VR_LENGTH_32:
        return None
    return RawDataElement(raw.tag, vr, len(value), value, 0, False, True)


def _decimal(text: bytes) -> bytes:
    """A decimal string as it is, or cut to the 16 characters it may have; raises where it is not a finite number."""
    stripped = text.strip(b" \0")
    if not stripped:
        return text
    number = float(stripped)
    if not np.isfinite(number) or not re.fullmatch(rb"[0-9eE+.\-]+", stripped):
        raise ValueError("not a decimal string")
    return text if len(stripped) <= 16 else ds(number).encode()


def _are_uids(values: Iterable[str]) -> bool:
    return all(is_uid(text) for value in values if (text := value.strip(" \0")))


def _decoded(
    dataset: Dataset, tag: BaseTag, ancestors: list[Dataset], keep_private: bool, damaged: list[str]
) -> DataElement | None:
    """The element with its value decoded, in little-endian order, its items cleaned likewise."""
    raw = dataset.get_item(tag)
    little = (
        raw.is_little_endian if isinstance(raw, RawDataElement) else dataset.original_encoding[1]
    ) is not False
    _vr(raw)
    element = dataset[tag]
    if element.VR == "SQ":
        copies = [_item(item, [item, *ancestors], keep_private, damaged) for item in element.value or ()]
        items = [copy for copy in copies if copy is not None]
        return DataElement(tag, "SQ", Sequence(items)) if items or not copies else None
    element = DataElement(tag, element.VR, element.value, already_converted=True)
    if len(element.VR) != 2:
        correct_ambiguous_vr_element(element, dataset, little, ancestors)
    if element.VR == "UI" and not _are_uids(
        [element.value] if isinstance(element.value, str) else element.value
    ):
        return None
    if element.VR in _WORD_BYTES and not little:
        word = np.dtype(f"u{_WORD_BYTES[element.VR]}")
        element.value = np.frombuffer(element.value, word).byteswap().tobytes()
    return element


def _item(item: Dataset, ancestors: list[Dataset], keep_private: bool, damaged: list[str]) -> Dataset | None:
    """A copy of one item without private and unreadable elements; None where it refers to nothing that can be."""
    out = Dataset()
    for tag in item.keys():  # noqa: SIM118
        if (tag.is_private and not keep_private) or tag.element == 0:
            continue
        try:
            element = _decoded(item, tag, ancestors, keep_private, damaged)
            if element is not None:
                write_data_element(_buffer(), element)
        except Exception:
            # As for a top-level element: left out, and named in `damaged`.
            element = None
        if element is not None:
            out[tag] = element
            continue
        name = keyword_for_tag(tag) or str(tag)
        damaged.append(name)
        if name.endswith("UID"):
            return None
    return out


def _buffer() -> DicomBytesIO:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    return buffer
