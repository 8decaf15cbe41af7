"""The functional groups of a derived Enhanced object (PS3.3 C.7.6.16): the source's, and what new pixels change in them.

A group stays where it was, shared or by frame. What is said by frame is encoded frame by frame, so that an
object of many frames takes no more here than its header's bytes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from pydicom import Dataset
from pydicom.tag import Tag

from ...files import plain_text
from .carry import carry, encoded_items, tags
from .encoding import ds
from .series import Instance
from .statements import Work, code, rescale, source_image, text
from .values import integer

STACK = "1"
"""StackID of every frame: a volume is one stack."""

_OURS = tags("PlanePositionSequence PixelValueTransformationSequence FrameDisplayShutterSequence")
_ORIENTATION = tags("PlaneOrientationSequence")
_MAPPING = tags("RealWorldValueMappingSequence")
_FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence")
_DESCRIPTIONS = (
    "VolumetricProperties",
    "VolumeBasedCalculationTechnique",
    "ComplexImageComponent",
    "AcquisitionContrast",
)


class Groups(NamedTuple):
    """What the functional groups of one object come to.

    Attributes:
        shared: the item of SharedFunctionalGroupsSequence.
        frames: the items of PerFrameFunctionalGroupsSequence, encoded.
        kinds: value 3 of every FrameType.
        described: every value the frames have of each attribute of their description (C.8.16.2), by keyword.
        damaged: keywords of elements that could not be read and were left out.
    """

    shared: Dataset
    frames: bytes
    kinds: frozenset[str]
    described: dict[str, frozenset[str]]
    damaged: tuple[str, ...]


def functional_groups(work: Work, encodings: list[str]) -> Groups:
    """The functional groups of all frames, frame k for slice k, in one stack from the lowest slice up.

    Args:
        work: of an Enhanced series.
        encodings: Python's names of the character sets to write text in.

    Raises:
        UnreadableInput: a source header cannot be read.
    """
    return _Making(work).groups(encodings)


def derived_type(values: list[str], work: Work) -> list[str]:
    """ImageType or FrameType (C.8.16.1): unlike a classic one it stays PRIMARY, and value 4 tells how it was derived."""
    kind = plain_text(values[2], 16) if len(values) > 2 else ""
    contrast = values[3] if len(values) > 3 else "NONE"
    kind = kind or ("VOLUME" if work.volume.modality == "CT" else "OTHER")
    return ["DERIVED", "PRIMARY", kind, "RESAMPLED" if work.volume.derivation else contrast]


class _Making:
    """The groups of one object on their way, with what was met in the source's."""

    def __init__(self, work: Work) -> None:
        self.work = work
        volume = work.volume
        self.placed = volume.geometry.known and all(note.code != "no-position" for note in volume.notes)
        self.leave = _OURS | _ORIENTATION if self.placed else _OURS
        self.keep = _MAPPING if _numbers_stay(work) else frozenset()
        self.damaged: list[str] = []
        self.rescaled = False
        self.rescale_kinds: set[str] = set()
        self.kinds: set[str] = set()
        self.described: dict[str, set[str]] = {}

    def groups(self, encodings: list[str]) -> Groups:
        files: dict[Path, list[int]] = {}
        for k, instance in enumerate(self.work.series.instances):
            files.setdefault(instance.path, []).append(k)
        # File by file, since the source keeps the header of the last one only.
        each = {path: self._shared(slices[0]) for path, slices in files.items()}
        shared = _common(list(each.values()))
        frames: dict[int, bytes] = {}
        for path, slices in files.items():
            alone = [each[path][tag] for tag in each[path].keys() if tag not in shared]  # noqa: SIM118
            for k in slices:
                frame = self._frame(k)
                for element in alone:
                    frame.setdefault(element.tag, element)
                self._finish(frame, k, shared)
                frames[k] = encoded_items([frame], encodings)
        for keyword in ("DerivationImageSequence", "FrameContentSequence"):
            # Every frame has its own now.
            shared.pop(Tag(keyword), None)
        self._place_all(shared)
        return Groups(
            shared,
            b"".join(frames[k] for k in range(len(frames))),
            frozenset(self.kinds),
            {keyword: frozenset(values) for keyword, values in self.described.items()},
            tuple(dict.fromkeys(self.damaged)),
        )

    def _shared(self, k: int) -> Dataset:
        """What holds for all frames of slice `k`'s file."""
        items = self.work.series.header(k).get("SharedFunctionalGroupsSequence") or [Dataset()]
        return self._carried(items[0], self.work.series.instances[k])

    def _frame(self, k: int) -> Dataset:
        """What holds for the frame of slice `k` alone."""
        series, instance = self.work.series, self.work.series.instances[k]
        items = series.header(k).get("PerFrameFunctionalGroupsSequence") or []
        assert instance.frame is not None
        held = series.frame_group(k, "PixelValueTransformationSequence") or series.header(k)
        self.rescaled |= "RescaleSlope" in held
        self.rescale_kinds |= {text(held, "RescaleType")} - {""}
        return self._carried(items[instance.frame], instance)

    def _carried(self, item: Dataset, instance: Instance) -> Dataset:
        """The groups of one item, adapted where they lie."""
        work = self.work
        found = carry(item, keep_private=work.keep_private, leave=self.leave, keep=self.keep)
        self.damaged += found.damaged
        out = found.dataset
        if work.volume.geometry.known:
            for measures in out.get("PixelMeasuresSequence") or ():
                measures.PixelSpacing = _spacing(work)
        for keyword in _FRAME_TYPES:
            for kind in out.get(keyword) or ():
                kind.FrameType = derived_type(text(kind, "FrameType").split("\\"), work)
                # Colours were given to the old numbers.
                kind.PixelPresentation = "MONOCHROME"
        if work.encoding.signed != instance.signed:
            _drop_window_tables(out)
        _remap(out, work, instance)
        return out

    def _finish(self, out: Dataset, k: int, shared: Dataset) -> None:
        """Where the frame is, in the patient and in the stack, and what it was made from."""
        work = self.work
        if self.placed:
            plane = Dataset()
            plane.ImagePositionPatient = [ds(float(x)) for x in work.volume.geometry.position(k, 0, 0)]
            out.PlanePositionSequence = [plane]
        if (
            work.volume.geometry.known
            and "PixelMeasuresSequence" not in out
            and "PixelMeasuresSequence" not in shared
        ):
            measures = Dataset()
            measures.PixelSpacing = _spacing(work)
            out.PixelMeasuresSequence = [measures]
        content = (out.get("FrameContentSequence") or shared.get("FrameContentSequence") or [Dataset()])[0]
        content.StackID, content.InStackPositionNumber = STACK, k + 1
        content.DimensionIndexValues = [1, k + 1]
        out.FrameContentSequence = [content]
        earlier = out.get("DerivationImageSequence") or shared.get("DerivationImageSequence") or ()
        out.DerivationImageSequence = [*earlier, _derivation(work, k)]
        for keyword in _FRAME_TYPES:
            for kind in out.get(keyword) or shared.get(keyword) or ():
                self.kinds.add(kind.FrameType[2])
                for name in _DESCRIPTIONS:
                    if text(kind, name):
                        self.described.setdefault(name, set()).add(text(kind, name))

    def _place_all(self, shared: Dataset) -> None:
        """Orientation and rescale, which all frames of a result share."""
        work = self.work
        if self.placed:
            geometry = work.volume.geometry
            plane = Dataset()
            directions = (*geometry.column_direction, *geometry.row_direction)
            plane.ImageOrientationPatient = [ds(float(x)) for x in directions]
            shared.PlaneOrientationSequence = [plane]
        transformation = Dataset()
        rescale(transformation, work, needed=self.rescaled, kinds=self.rescale_kinds)
        if transformation:
            shared.PixelValueTransformationSequence = [transformation]


def _common(items: list[Dataset]) -> Dataset:
    """The groups that every item has, and has alike."""
    first, *others = items
    out = Dataset()
    for tag in first.keys():  # noqa: SIM118 - iterating a Dataset itself would give its elements
        if all(tag in other and other[tag] == first[tag] for other in others):
            out[tag] = first[tag]
    return out


def _spacing(work: Work) -> list[str]:
    _, dy, dx = work.volume.geometry.spacing
    return [ds(dy), ds(dx)]


def _derivation(work: Work, k: int) -> Dataset:
    """An item of the Derivation Image group (C.7.6.16.2.6)."""
    item = Dataset()
    made = (
        ("113085", "DCM", "Spatial resampling")
        if work.volume.derivation
        else ("110001", "DCM", "Image Processing")
    )
    item.DerivationCodeSequence = [code(*made)]
    item.SourceImageSequence = [source_image(work, k)]
    return item


def _numbers_stay(work: Work) -> bool:
    """Whether a stored number means in every frame of the result what it meant in the source."""
    encoding = work.encoding
    return all(
        math.isclose(one.slope, encoding.slope) and math.isclose(one.intercept, encoding.intercept)
        for one in work.series.instances
    )


def _drop_window_tables(out: Dataset) -> None:
    """Leave out the tables of a VOI LUT, whose descriptors count in the old representation; windows stay."""
    windows = out.get("FrameVOILUTSequence") or ()
    for window in windows:
        window.pop(Tag("VOILUTSequence"), None)
    if windows and not any(windows):
        del out.FrameVOILUTSequence


def _remap(out: Dataset, work: Work, instance: Instance) -> None:
    """Real world values (C.7.6.16.2.11) in the new representation; tables, which end at the old range, go."""
    kept = []
    for mapping in out.get("RealWorldValueMappingSequence") or ():
        ends = [
            integer(
                mapping, f"RealWorldValue{end}ValueMapped", instance.layout.bits_allocated, instance.signed
            )
            for end in ("First", "Last")
        ]
        if None in ends or "RealWorldValueLUTData" in mapping:
            continue
        for keyword, value in zip(("First", "Last"), ends, strict=True):
            assert value is not None
            stored = min(max(value, work.encoding.lowest), work.encoding.highest)
            mapping.add_new(
                Tag(f"RealWorldValue{keyword}ValueMapped"), "SS" if work.encoding.signed else "US", stored
            )
        kept.append(mapping)
    out.pop(Tag("RealWorldValueMappingSequence"), None)
    if kept:
        out.RealWorldValueMappingSequence = kept
