"""From one file to its frames: everything that grouping and geometry need, a few numbers a frame.

A frame of an Enhanced object and a classic single-frame file look alike from here on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID

from ...errors import GeometryInput, InputError, UnreadableInput, UnsupportedInput
from ...geometry import Vector
from ...limits import MAX_SPACING_MM, MIN_SPACING_MM
from ...volume import INVENTED, Modality, Note
from .header import quiet, read_header
from .identity import is_derived_here
from .layout import LOSSY, Layout, layout_of
from .series import Instance
from .streams import damaged
from .values import integer, items, number, numbers

CLASSIC: dict[str, Modality] = {"1.2.840.10008.5.1.4.1.1.2": "CT", "1.2.840.10008.5.1.4.1.1.4": "MR"}
ENHANCED: dict[str, Modality] = {
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
}
"""Enhanced and Legacy Converted Enhanced; colour MR (…4.3) is not handled."""

PHASES = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "AcquisitionNumber",
    "FrameAcquisitionNumber",
    "StackID",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "EchoNumbers",
    "EchoTime",
    "EffectiveEchoTime",
    "InversionTime",
    "FlipAngle",
    "TriggerTime",
    "NominalPercentageOfCardiacPhase",
    "ComplexImageComponent",
    "ImageType",
    "FrameType",
    "AcquisitionTime",
    "AcquisitionDateTime",
)
"""Attributes that tell volumes of one series apart, in the order they are tried."""

_PHASE_GROUPS = (
    "FrameContentSequence",
    "MRDiffusionSequence",
    "MREchoSequence",
    "MRTimingAndRelatedParametersSequence",
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "CardiacSynchronizationSequence",
)


@dataclass(frozen=True)
class Frame:
    """One slice on its way into a volume.

    Attributes:
        instance: what is kept of it.
        placed: the file has a position; without one `instance.position` means nothing.
        orientation: ImageOrientationPatient, or None.
        pixel_spacing: (between rows, between columns), mm, or None.
        thickness: SliceThickness, mm, or None.
        localizer: ImageType value 3 says so.
        phases: the attributes of `PHASES` that it has, as text.
        frame_of_reference_uid: or empty.
        hounsfield: rescaled values are HU.
        notes: what is worth telling.
    """

    instance: Instance
    placed: bool
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, float] | None
    thickness: float | None
    localizer: bool
    phases: dict[str, str]
    frame_of_reference_uid: str
    hounsfield: bool
    notes: tuple[Note, ...]

    @property
    def normal(self) -> Vector:
        """Unit normal of the slice, column × row direction; along z where the orientation is unknown."""
        if self.orientation is None:
            return (0.0, 0.0, 1.0)
        x, y, z = np.cross(self.orientation[:3], self.orientation[3:])
        return (float(x), float(y), float(z))

    @property
    def height(self) -> float:
        """The position along the normal, mm."""
        return float(np.dot(self.normal, self.instance.position))


class Contents(NamedTuple):
    """What one file holds.

    Attributes:
        study, series: UIDs; series_number: or None.
        ours: made by this software.
        skipped: the kind of object, where it is none that is read; else empty.
        modality: CT or MR.
        frames: empty where `error` says why.
    """

    study: str = ""
    series: str = ""
    series_number: int | None = None
    ours: bool = False
    skipped: str = ""
    modality: Modality | None = None
    frames: tuple[Frame, ...] = ()
    error: InputError | None = None


def read_file(path: Path) -> Contents:
    """The frames of one file. Only the header is read.

    A file whose series is known but whose image cannot be used comes back with its `error`, so that the
    series is not taken for whole without it.

    Raises:
        InputError: the header cannot be read, or does not say what it is.
    """
    header = read_header(path, references=False)
    try:
        with quiet():
            dataset = header.dataset
            meta = getattr(dataset, "file_meta", Dataset())
            kind = str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
            study, series = (str(dataset.get(f"{level}InstanceUID") or "") for level in ("Study", "Series"))
            given = number(dataset, "SeriesNumber")
            contents = Contents(
                study, series, None if given is None else int(given), is_derived_here(dataset)
            )
            if not kind:
                raise UnreadableInput(
                    "no-class", "The file does not say what kind of object it is.", path=path
                )
            modality = CLASSIC.get(kind) or ENHANCED.get(kind)
            if modality is None:
                return contents._replace(skipped=_kind_name(kind))
            if str(dataset.get("Modality") or modality) != modality:
                raise UnreadableInput(
                    "modality", f"The file is a {modality} image but names another modality.", path=path
                )
            if not study or not series:
                raise UnreadableInput(
                    "no-series", "The file does not say which series it belongs to.", path=path
                )
            contents = contents._replace(modality=modality)
            try:
                layout = layout_of(header, path)
                notes = _notes(dataset, layout, header.preamble)
                if kind in ENHANCED:
                    return contents._replace(frames=_multi_frame(path, dataset, modality, layout, notes))
                return contents._replace(frames=(_single_frame(path, dataset, modality, layout, notes),))
            except InputError as error:
                error.path = path
                return contents._replace(error=error)
            except Exception:
                # As below; but the series is known, and must not be taken for whole without this file.
                return contents._replace(error=damaged(path))
    except InputError:
        raise
    except Exception:
        # Values are converted lazily, by a parser that may raise anything and quotes what it met.
        raise damaged(path) from None


def _kind_name(uid: str) -> str:
    """The standard's name of a SOP class; a UID that it does not know is not shown."""
    name = UID(uid).name
    return "object of unknown kind" if name == uid else name


def _single_frame(
    path: Path, dataset: Dataset, modality: Modality, layout: Layout, notes: tuple[Note, ...]
) -> Frame:
    if layout.frames != 1:
        raise UnsupportedInput(
            "frames", f"Expected one frame in a single-frame image, found {layout.frames}."
        )
    return _frame(path, None, dataset, [dataset], modality, layout, notes)


def _multi_frame(
    path: Path, dataset: Dataset, modality: Modality, layout: Layout, notes: tuple[Note, ...]
) -> tuple[Frame, ...]:
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != layout.frames:
        raise UnreadableInput(
            "frames", f"Expected {layout.frames} descriptions of frames, found {len(groups)}."
        )
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    names = (
        "PlanePositionSequence",
        "PlaneOrientationSequence",
        "PixelMeasuresSequence",
        "PixelValueTransformationSequence",
        *_PHASE_GROUPS,
    )
    frames = []
    for index, group in enumerate(groups):
        found = (next((g[name][0] for g in (group, *shared) if g.get(name)), None) for name in names)
        sources = [item for item in found if item is not None]
        frames.append(_frame(path, index, dataset, [*sources, dataset], modality, layout, notes))
    return tuple(frames)


def _frame(
    path: Path,
    index: int | None,
    dataset: Dataset,
    sources: list[Dataset],
    modality: Modality,
    layout: Layout,
    notes: tuple[Note, ...],
) -> Frame:
    """One frame, whose attributes lie in the first of `sources` that has them."""

    def holder(keyword: str) -> Dataset:
        return next((source for source in sources if keyword in source), dataset)

    position = numbers(holder("ImagePositionPatient"), "ImagePositionPatient", 3)
    slope = number(holder("RescaleSlope"), "RescaleSlope")
    intercept = number(holder("RescaleIntercept"), "RescaleIntercept")
    if "ModalityLUTSequence" in dataset:
        raise UnsupportedInput(
            "modality-lut", "Expected values rescaled by slope and intercept, found a table."
        )
    if slope == 0:
        raise UnreadableInput("rescale", "The rescale slope is zero.")
    scale_type = str(holder("RescaleType").get("RescaleType") or "")
    hounsfield = modality == "CT" and intercept is not None and scale_type in ("", "HU", "US")
    if modality == "CT" and not hounsfield:
        notes += (
            Note("not-hounsfield", "The file does not rescale its values to HU; they are kept as given."),
        )
    image_type = [str(v) for v in items(holder("FrameType").get("FrameType") or dataset.get("ImageType"))]
    instance = Instance(
        path=path,
        frame=index,
        sop_class_uid=str(dataset.get("SOPClassUID") or ""),
        sop_instance_uid=str(dataset.get("SOPInstanceUID") or ""),
        position=(position[0], position[1], position[2]) if position else (0.0, 0.0, 0.0),
        slope=1.0 if slope is None else slope,
        intercept=intercept or 0.0,
        padding=integer(dataset, "PixelPaddingValue", layout.bits_allocated, layout.signed),
        padding_limit=integer(dataset, "PixelPaddingRangeLimit", layout.bits_allocated, layout.signed),
        bits_stored=layout.bits_stored,
        signed=layout.signed,
        monochrome1=dataset.get("PhotometricInterpretation") == "MONOCHROME1",
        layout=layout,
    )
    spacing = _spacing(numbers(holder("PixelSpacing"), "PixelSpacing", 2), "PixelSpacing")
    thickness = number(holder("SliceThickness"), "SliceThickness")
    return Frame(
        instance=instance,
        placed=position is not None,
        orientation=_orientation(holder("ImageOrientationPatient")),
        pixel_spacing=(spacing[0], spacing[1]) if spacing else None,
        thickness=thickness if thickness and MIN_SPACING_MM <= thickness <= MAX_SPACING_MM else None,
        localizer="LOCALIZER" in image_type[2:3],
        phases={
            keyword: str(value)
            for keyword in PHASES
            if (value := holder(keyword).get(keyword)) is not None and value != ""
        },
        frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID") or ""),
        hounsfield=hounsfield,
        notes=notes,
    )


def _notes(dataset: Dataset, layout: Layout, preamble: bool) -> tuple[Note, ...]:
    notes = []
    if not preamble:
        notes.append(
            Note("no-preamble", "The file lacks the preamble of a DICOM file; it was read all the same.")
        )
    if str(dataset.get("LossyImageCompression") or "") == "01" or layout.transfer_syntax in LOSSY:
        notes.append(Note("lossy-source", "The images were compressed with loss before they came here."))
    if INVENTED in str(dataset.get("DerivationDescription") or ""):
        notes.append(
            Note(
                "perceptual-source",
                "The images were made by perceptual weights; fine texture may be invented.",
            )
        )
    if dataset.get("BurnedInAnnotation") == "YES":
        notes.append(Note("burned-in-annotation", "The images carry text burned into their pixels."))
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        notes.append(
            Note("monochrome1", "The images are shown inverted (MONOCHROME1); values are as stored.")
        )
    return tuple(notes)


def _orientation(dataset: Dataset) -> tuple[float, ...] | None:
    """ImageOrientationPatient, checked: two unit vectors at right angles, to a thousandth."""
    values = numbers(dataset, "ImageOrientationPatient", 6)
    if values is None:
        return None
    row, column = np.array(values[:3]), np.array(values[3:])
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 2e-3:
        raise GeometryInput(
            "orientation", "Expected two unit vectors at right angles as orientation, found others."
        )
    return values


def _spacing(values: tuple[float, ...] | None, keyword: str) -> tuple[float, ...] | None:
    if values is not None and not all(MIN_SPACING_MM <= value <= MAX_SPACING_MM for value in values):
        shown = " and ".join(f"{value:.6g}" for value in values)
        raise GeometryInput(
            "spacing", f"Expected {keyword} from {MIN_SPACING_MM} to {MAX_SPACING_MM:g} mm, found {shown}."
        )
    return values
