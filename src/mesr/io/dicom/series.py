"""What a volume read from DICOM remembers of its files, for the writer and for identifiers.

Headers stay on disk: a series of two thousand slices keeps a few numbers a slice, and `header` reads the
rest of one file when it is asked for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from ...geometry import Vector
from .header import read_header
from .layout import Layout
from .pixels import encoded_frame


@dataclass(frozen=True)
class Instance:
    """One slice of a series: a file, or one frame of a multi-frame file.

    Attributes:
        path: the file.
        frame: 0-based frame of a multi-frame file; None for a classic single-frame one.
        sop_class_uid: of the file.
        sop_instance_uid: of the file.
        position: ImagePositionPatient, mm in LPS; (0, 0, 0) where the file has none.
        slope: this slice's RescaleSlope; 1 where absent.
        intercept: this slice's RescaleIntercept; 0 where absent.
        padding: PixelPaddingValue as stored, signed where the pixels are; None where absent.
        padding_limit: PixelPaddingRangeLimit likewise.
        bits_stored: BitsStored.
        signed: PixelRepresentation is 1.
        monochrome1: lowest value shown white; the values themselves are never inverted.
        layout: where and how the pixels are stored.
    """

    path: Path
    frame: int | None
    sop_class_uid: str
    sop_instance_uid: str
    position: Vector
    slope: float
    intercept: float
    padding: int | None
    padding_limit: int | None
    bits_stored: int
    signed: bool
    monochrome1: bool
    layout: Layout


@dataclass(frozen=True)
class DicomSeries:
    """`Volume.source` of a volume read from DICOM; instance k is slice k of the volume.

    Attributes:
        instances: in the order of the slices, sorted along the slices' normal.
        study_instance_uid: of every instance.
        series_instance_uid: of every instance.
        frame_of_reference_uid: of every instance; empty where the files have none.
        series_number: None where the files have none.
        sibling_series_numbers: every other SeriesNumber of the same study seen in this discovery, but for those of
            earlier results.
        enhanced: the instances are frames of Enhanced (multi-frame) objects.
    """

    instances: tuple[Instance, ...]
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    series_number: int | None
    sibling_series_numbers: frozenset[int] = frozenset()
    enhanced: bool = False
    _last: dict[Path, Dataset] = field(default_factory=dict, repr=False, compare=False)

    def header(self, k: int) -> Dataset:
        """The whole header of slice `k`'s file with its `file_meta`, without pixel data. Copy it to change it.

        For an Enhanced series this is the header of all its frames. The last one read is kept.

        Raises:
            UnreadableInput: the file is gone or has changed into something unreadable.
        """
        path = self.instances[k].path
        if path not in self._last:
            header = read_header(path).dataset
            self._last.clear()
            self._last[path] = header
        return self._last[path]

    def frame_group(self, k: int, keyword: str) -> Dataset | None:
        """The functional group item that holds for the frame of slice `k`; None where absent or not Enhanced.

        Args:
            k: slice.
            keyword: of the group's sequence, `"PlanePositionSequence"`; per-frame before shared
                (PS3.3 C.7.6.16.1).
        """
        frame = self.instances[k].frame
        if frame is None:
            return None
        header = self.header(k)
        frames = header.get("PerFrameFunctionalGroupsSequence") or []
        for groups in [*frames[frame : frame + 1], *(header.get("SharedFunctionalGroupsSequence") or [])[:1]]:
            items = groups.get(keyword)
            if items:
                return items[0]  # type: ignore[no-any-return]
        return None

    def pixel_digest(self, k: int) -> str:
        """sha256 (hex) of the pixel bytes of slice `k` as they are encoded in the file; nothing is decoded.

        Raises:
            InputError: the file is gone or proves to be cut short.
        """
        instance = self.instances[k]
        return hashlib.sha256(encoded_frame(instance.path, instance.layout, instance.frame)).hexdigest()
