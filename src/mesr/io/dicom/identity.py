"""Deterministic identifiers of a derived series: the same job gives the same UIDs, any other job gives others.

A PACS that is sent the same result twice then keeps one copy, and nothing in a UID tells of machine or time.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass

from pydicom import Dataset

from ...errors import UnreadableInput
from .series import DicomSeries

NAMESPACE = uuid.UUID("6f1c1b3e-7d0e-5a53-9d9b-4d1f0a5c2e87")
IMPLEMENTATION_CLASS_UID = f"2.25.{uuid.uuid5(NAMESPACE, 'implementation').int}"
"""Of the files this package writes (PS3.7 D.3.3.2)."""

MANUFACTURER = "mesr"
"""In the item of a ContributingEquipmentSequence (C.12.1.1.5) that tells of this software."""

SERIES_NUMBER_OFFSET = 1000
_VALID_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_UID = 64


def uid(*parts: str) -> str:
    """A UID of at most 44 characters that is a function of `parts`: `2.25.` and a UUID as a number (PS3.5 B.2).

    Parts are told apart by their lengths, so ("ab", "c") and ("a", "bc") give different UIDs.
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return f"2.25.{uuid.uuid5(NAMESPACE, digest.hexdigest()).int}"


def is_uid(text: str) -> bool:
    """Whether `text` has the characters and length of a UID; leading zeros, common in old files, are let pass."""
    return len(text) <= _MAX_UID and _VALID_UID.fullmatch(text) is not None


@dataclass(frozen=True)
class Identity:
    """The identifiers of one derived series.

    Attributes:
        series_instance_uid: a function of everything that decides a pixel of any of its slices.
        series_number: the source's plus a fixed offset, equal to no number seen in the study but of earlier results.
    """

    series_instance_uid: str
    series_number: int

    def sop_instance_uid(self, k: int) -> str:
        """The identifier of slice `k`."""
        return uid(self.series_instance_uid, str(k))


def identify(series: DicomSeries, settings: str, encoding: str) -> Identity:
    """The identifiers of what `settings` make of `series`.

    Args:
        series: the source; the encoded pixels of all its slices are read once for their digests.
        settings: everything besides the source that decides a value (`Derivation.settings`).
        encoding: how values become stored numbers.

    Raises:
        UnreadableInput: code `damaged-uid`; an identifier of the source is not a valid UID.
    """
    _check(series)
    parts = [series.study_instance_uid, series.series_instance_uid, settings, encoding]
    for k, instance in enumerate(series.instances):
        parts += [instance.sop_instance_uid, str(instance.frame), series.pixel_digest(k)]
    return Identity(uid(*parts), derived_number(series.series_number, series.sibling_series_numbers))


def derived_number(number: int | None, siblings: frozenset[int]) -> int:
    """The source's SeriesNumber plus as many times `SERIES_NUMBER_OFFSET` as it takes to be new in the study.

    A number that is absent, negative or close to the end of the range of IS (PS3.5 table 6.2-1) counts as 0.
    """
    derived = number if number is not None and 0 <= number < 10**9 else 0
    while True:
        derived += SERIES_NUMBER_OFFSET
        if derived != number and derived not in siblings:
            return derived


def is_derived_here(header: Dataset) -> bool:
    """Whether this software made the object, by what it says of the equipment that contributed to it."""
    try:
        equipment = header.get("ContributingEquipmentSequence") or ()
        return any(item.get("Manufacturer") == MANUFACTURER for item in equipment)
    except Exception:
        # What pydicom cannot decode was not written here, and is no reason to refuse the image.
        return False


def _check(series: DicomSeries) -> None:
    kept = {"study": series.study_instance_uid, "series": series.series_instance_uid}
    if series.frame_of_reference_uid:
        kept["frame of reference"] = series.frame_of_reference_uid
    for name, value in kept.items():
        if not is_uid(value):
            raise UnreadableInput("damaged-uid", f"The identifier of the source's {name} is not a valid UID.")
    for instance in series.instances:
        if not (is_uid(instance.sop_instance_uid) and is_uid(instance.sop_class_uid)):
            raise UnreadableInput(
                "damaged-uid", "The identifier of a source image is not a valid UID.", path=instance.path
            )
