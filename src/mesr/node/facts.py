"""What of an object's header the node goes by: where it belongs, which rule is for it, and whether it is our own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from ..errors import UnreadableInput
from ..files import plain_text
from ..io.dicom.header import quiet, read_header
from ..io.dicom.identity import is_derived_here, is_uid


@dataclass(frozen=True)
class Facts:
    """A few values of one header. None is written to a log or to the queue but as a hash.

    Attributes:
        sop_class_uid, sop_instance_uid, study_instance_uid, series_instance_uid: valid UIDs.
        modality: as the file says.
        description: SeriesDescription, on one line.
        expected: NumberOfSeriesRelatedInstances (PS3.4 C.3.4), which some archives put into what they send.
        ours: made by this software, which makes nothing of its own results.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    description: str
    expected: int | None
    ours: bool


def read_facts(path: Path) -> Facts:
    """The facts of a file.

    Raises:
        UnreadableInput: codes `unreadable`, `damaged-header`, `damaged-uid`, `no-series`.
        TooLarge, UnsupportedInput: the header is beyond a limit.
    """
    header = read_header(path, references=False).dataset
    with quiet():
        try:
            return _facts(header)
        except UnreadableInput:
            raise
        except Exception:
            # pydicom decodes an element when it is asked for, and what it then raises quotes the value.
            raise UnreadableInput("damaged-header", "The header is damaged.", path=path) from None


def _facts(header: Dataset) -> Facts:
    keywords = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    sop_class, sop_instance, study, series = uids = [str(header.get(keyword) or "") for keyword in keywords]
    if not all(uids):
        raise UnreadableInput(
            "no-series", "The object does not say what it is, or to which series it belongs."
        )
    if not all(map(is_uid, uids)):
        raise UnreadableInput("damaged-uid", "An identifier of the object is not a valid UID.")
    expected = header.get("NumberOfSeriesRelatedInstances")
    return Facts(
        sop_class,
        sop_instance,
        study,
        series,
        modality=plain_text(header.get("Modality") or ""),
        description=plain_text(header.get("SeriesDescription") or ""),
        expected=int(expected) if isinstance(expected, int) and expected > 0 else None,
        ours=is_derived_here(header),
    )


def hashed(*parts: str) -> str:
    """32 hexadecimal digits that stand for identifiers in names, the queue and logs."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]
