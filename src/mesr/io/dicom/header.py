"""The header of a DICOM file that nobody vouches for: bounded, quiet, and either whole or refused.

pydicom's exceptions, warnings and log lines contain header values, that is, patient data; none leaves here.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pydicom import DataElement, Dataset, config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset, read_partial, read_sequence
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from ...errors import MesrError, TooLarge, UnreadableInput, UnsupportedInput
from ...limits import MAX_SEQUENCE_DEPTH
from .streams import BoundedBytes, BoundedFile, Budget, Inflated, damaged

PIXEL_DATA = 0x7FE00010
FLOAT_PIXEL_DATA = (0x7FE00008, 0x7FE00009)
_PIXEL_TAGS = frozenset((PIXEL_DATA, *FLOAT_PIXEL_DATA))
_SILENCE = threading.RLock()
_REFERENCED_SERIES = 0x00081115
UNDEFINED_LENGTH = 0xFFFFFFFF
_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN", b"UT", b"UC", b"UR", b"SQ", b"SV", b"UV")


@dataclass(frozen=True)
class PixelElement:
    """Where PixelData lies: `offset` of its value and `length` in bytes, None for encapsulated (undefined).

    For a deflated file `offset` counts in the inflated data set, which starts at `deflated_at` of the file.
    """

    vr: str
    offset: int
    length: int | None
    deflated_at: int | None = None


@dataclass(frozen=True)
class Header:
    """A whole header: its data set with `file_meta`, the syntax it was read in, and where the pixels are.

    Attributes:
        dataset: everything before PixelData.
        transfer_syntax: its UID; guessed from the encoding where the file does not say.
        pixels: None where the file has no PixelData, or ends before it.
        preamble: the file begins as PS3.10 7.1 asks.
    """

    dataset: Dataset
    transfer_syntax: str
    pixels: PixelElement | None
    preamble: bool


def is_dicom(path: Path) -> bool:
    """Whether the file begins like DICOM: by its magic word, or, without one, by a plausible first element.

    Raises:
        UnreadableInput: code `unreadable`.
    """
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        raise _unreadable(path) from None
    if start[128:132] == b"DICM":
        return True
    if len(start) < 132:
        return False
    group, element, vr = struct.unpack("<HH2s", start[:6])
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    length = struct.unpack("<I", start[4:8])[0]
    return vr in (b"UL", b"CS", b"UI", b"OB", b"SH", b"DA") or 0 < length <= 64


def read_header(path: Path, *, references: bool = True) -> Header:
    """Parse everything before the pixel data.

    Args:
        path: the file.
        references: also the list of other series' images, which may be as long as the series itself; without
            it a series whose every file lists another whole one is looked through in linear time.

    Raises:
        UnreadableInput: code `unreadable` or `damaged-header`.
        TooLarge: code `header-too-large` or `sequence-depth`.
        UnsupportedInput: code `float-pixels`.
    """
    try:
        with quiet(), path.open("rb", buffering=0) as raw:
            budget = Budget()
            header = _parse(path, BoundedFile(raw, budget))
            if not references:
                header.dataset.pop(_REFERENCED_SERIES, None)
            _parse_sequences(header.dataset, budget)
            return header
    except MesrError as error:
        error.path = path
        raise
    except OSError as error:
        if error.errno is None:  # raised by pydicom, not by the system
            raise damaged(path) from None
        raise _unreadable(path) from None
    except RecursionError:
        raise _too_deep(path) from None
    except Exception:
        # A parser fed with untrusted bytes may raise anything, and what it says quotes the file.
        raise damaged(path) from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom: its warnings and log lines quote values.

    One thread at a time: the filters of warnings are the whole program's, and who came last would put them back while
    another still needs them.
    """
    logger = logging.getLogger("pydicom")
    with _SILENCE:
        disabled = logger.disabled
        logger.disabled = True
        try:
            with warnings.catch_warnings(), config.disable_value_validation():
                warnings.simplefilter("ignore")
                yield
        finally:
            logger.disabled = disabled


def _parse(path: Path, file: BoundedFile) -> Header:
    start = file.peek_at_start(4096)
    preamble = start[128:132] == b"DICM"
    if preamble and str(DeflatedExplicitVRLittleEndian).encode() in start:
        meta, deflated_at = _file_meta(file)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            stream = Inflated(file, deflated_at, file.budget)
            dataset = read_dataset(cast(BinaryIO, stream), False, True, stop_when=_at_pixels)
            dataset.file_meta = meta
            dataset.set_original_encoding(False, True)
            pixels = _pixel_element(stream, False, True, deflated_at)
            return Header(dataset, str(meta.TransferSyntaxUID), pixels, preamble)
    dataset = read_partial(cast(BinaryIO, file), stop_when=_at_pixels, force=True)
    implicit, little = dataset.original_encoding
    if implicit is None or little is None:
        raise damaged(path)
    if preamble and not dataset.file_meta.get("TransferSyntaxUID"):
        raise UnreadableInput("transfer-syntax", "The file does not say how it is encoded.")
    guessed = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else ExplicitVRBigEndian
    syntax = str(dataset.file_meta.get("TransferSyntaxUID") or guessed)
    return Header(dataset, syntax, _pixel_element(file, implicit, little), preamble)


def _file_meta(file: BoundedFile) -> tuple[FileMetaDataset, int]:
    """Group 2, and where it ends by its own length: a deflated data set behind it does not look like elements."""
    file.seek(132)
    head = file.read(12)
    if head[:8] != b"\x02\x00\x00\x00UL\x04\x00":
        raise damaged(None)
    elements = BoundedBytes(file.read(int.from_bytes(head[8:], "little")), file.budget)
    meta = FileMetaDataset(read_dataset(cast(BinaryIO, elements), False, True))
    end = file.tell()
    file.seek(0)
    return meta, end


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag in _PIXEL_TAGS


def _pixel_element(
    stream: BoundedFile | Inflated, implicit: bool, little: bool, deflated_at: int | None = None
) -> PixelElement | None:
    """The pixel element at which parsing stopped; None at the end of the file."""
    order = "<" if little else ">"
    head = stream.read(8)
    if len(head) < 8:
        return None
    group, element, vr, length = struct.unpack(f"{order}HH2sH", head)
    if (group << 16 | element) in FLOAT_PIXEL_DATA:
        raise UnsupportedInput("float-pixels", "Expected integer pixels, found floating-point ones.")
    if implicit or not (b"AA" <= vr <= b"ZZ"):
        vr, length = b"OW", struct.unpack(f"{order}I", head[4:])[0]
    elif vr in _LONG_VRS:
        length = struct.unpack(f"{order}I", stream.read(4))[0]
    offset, size = stream.tell(), None if length == UNDEFINED_LENGTH else length
    if size is not None and deflated_at is None:
        # Elements come in rising order; what comes again or late contradicts what was read (zeros only pad).
        stream.seek(offset + size)
        after = stream.read(4)
        if len(after) == 4 and any(after):
            group, element = struct.unpack(f"{order}HH", after)
            if (group << 16 | element) <= PIXEL_DATA:
                raise UnreadableInput("damaged-header", "Elements of the header follow the pixel data.")
    return PixelElement(vr.decode("ascii"), offset, size, deflated_at)


def _parse_sequences(dataset: Dataset, budget: Budget) -> None:
    """Parse sequences one level at a time, so that neither their depth nor their number runs away."""
    waiting = [(dataset, 0)]
    while waiting:
        parent, depth = waiting.pop()
        for tag in list(parent.keys()):
            if not _is_sequence(parent, tag):
                continue
            if depth == MAX_SEQUENCE_DEPTH:
                raise _too_deep()
            element = parent.get_item(tag)
            if isinstance(element, RawDataElement) and element.value:
                # As pydicom would on access, but through a stream that counts.
                stream = BoundedBytes(element.value, budget)
                sequence = read_sequence(
                    cast(BinaryIO, stream),
                    element.is_implicit_VR,
                    element.is_little_endian,
                    len(element.value),
                    parent.original_character_set,
                )
                parent[tag] = DataElement(tag, "SQ", sequence, already_converted=True)
            waiting += [(item, depth + 1) for item in parent[tag].value or []]


def _is_sequence(items: Dataset, tag: BaseTag) -> bool:
    vr = items.get_item(tag).VR
    if vr not in (None, "UN") or tag.is_private:
        return vr == "SQ"
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False


def _unreadable(path: Path) -> UnreadableInput:
    return UnreadableInput("unreadable", "The file cannot be opened and read.", path=path)


def _too_deep(path: Path | None = None) -> TooLarge:
    return TooLarge(
        "sequence-depth", f"The header nests sequences deeper than {MAX_SEQUENCE_DEPTH} levels.", path=path
    )
