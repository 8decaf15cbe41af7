"""Writing a map that belongs to a derived series as a floating-point Parametric Map (PS3.3 A.75), frame by frame.

highdicom makes the object, with frames of a single pixel: it takes all pixels at once, and a map of a long series
would not fit. Their number is then put right, and the pixels follow the header one frame after the other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.filewriter import dcmwrite

from ... import __version__
from ...errors import MissingExtra, OutputError, TooLarge
from ...files import atomic_path, check_file
from ...volume import Volume
from .describe import RESEARCH, ascii_text
from .encoding import ds
from .header import quiet
from .identity import derived_number, uid
from .series import DicomSeries
from .statements import date, text
from .write import MAX_PIXEL_BYTES, file_meta

Coded = tuple[str, str, str]
"""Value, scheme and meaning of a code."""

_NEEDED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)
"""Type 2 in every composite object, and asked for by highdicom: empty rather than absent."""


@dataclass(frozen=True)
class Quantity:
    """What a map's values mean.

    Attributes:
        name: told apart in the identifiers, and in the series description.
        label: LUTLabel, 16 characters at most.
        explanation: LUTExplanation, one sentence of at most 64.
        concept: what is measured.
        unit: UCUM.
        derivation: how it was derived from the images (CID 7203).
        window: width of the window it is first shown in, about 0.
    """

    name: str
    label: str
    explanation: str
    concept: Coded
    unit: Coded
    derivation: Coded
    window: float


def require() -> None:
    """Whether maps can be written at all.

    Raises:
        MissingExtra: highdicom is not installed.
    """
    try:
        import highdicom.pm  # noqa: F401
    except ImportError:
        raise MissingExtra(package="highdicom", extra="maps", purpose="A parametric map") from None


def write_map(
    volume: Volume,
    file: Path,
    quantity: Quantity,
    *,
    force: bool = False,
    on_slice: Callable[[int], None] | None = None,
    now: datetime | None = None,
) -> None:
    """Write `volume` as a float32 Parametric Map of the images it was computed from, one frame a slice.

    No more than a slice is in memory beside the header. The same map gives the same identifiers.

    Args:
        volume: the map's values; its `source` is the series it belongs to, whose images it refers to, and its
            `derivation` what made that.
        file: made, all or nothing.
        quantity: what the values mean.
        force: replace `file` where it exists.
        on_slice: called with k after each frame.
        now: the date and time to write; the current one by default.

    Raises:
        MissingExtra: highdicom is not installed.
        OutputError: codes `exists`, `unwritable`, `not-finite`; `map-header`, the images do not say enough.
        TooLarge: code `too-large`; one object cannot hold so many pixels.
    """
    require()
    check_file(file, force=force)
    slices, rows, columns = volume.geometry.size
    length = 4 * slices * rows * columns
    if length > MAX_PIXEL_BYTES:
        raise TooLarge(
            "too-large", "A parametric map holds 4 GiB of pixels at most.", "Ask for a smaller result."
        )
    with quiet():
        dataset = _header(volume, quantity, (now or datetime.now()).astimezone())
        order = _order(dataset, volume)
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
    with atomic_path(file, force=force) as temporary, temporary.open("wb") as target:
        target.write(buffer.getvalue())
        target.write(struct.pack("<HH2sHI", 0x7FE0, 0x0008, b"OF", 0, length))
        for k in order:
            values = np.ascontiguousarray(volume.slices[k].values, dtype="<f4")
            if not np.isfinite(values).all():
                raise OutputError("not-finite", "The map holds values that are not finite numbers.")
            target.write(values.data)
            if on_slice is not None:
                on_slice(k)


def _header(volume: Volume, quantity: Quantity, now: datetime) -> Dataset:
    """Everything but the pixels and their number in a frame."""
    series = volume.source
    assert isinstance(series, DicomSeries)
    if not volume.geometry.known or any(note.code == "no-position" for note in volume.notes):
        raise OutputError("map-header", "A parametric map needs images whose place in the patient is known.")
    images = [_image(path) for path in dict.fromkeys(one.path for one in series.instances)]
    series_uid = uid(series.series_instance_uid, quantity.name)
    try:
        made: Dataset = _made(volume, quantity, images, series_uid)
    except (AttributeError, KeyError, TypeError, ValueError):
        # What they say quotes the header.
        raise OutputError(
            "map-header", "The images' headers do not say enough to make a map of them."
        ) from None
    # In place of the frames of one pixel.
    del made.FloatPixelData
    made.Rows, made.Columns = volume.geometry.size[1:]
    for frame in made.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence") or ():
            for image in derivation.SourceImageSequence:
                image.SpatialLocationsPreserved = "YES"
    organization = uid(series_uid, "dimensions")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    made.Laterality = images[0].get("Laterality")
    made.SeriesDescription = f"{text(images[0], 'SeriesDescription')[:50].rstrip()} {quantity.name}".strip()
    made.DerivationDescription = f"{RESEARCH} {quantity.explanation}."
    date(made, now)
    made.file_meta = file_meta()
    return made


def _order(dataset: Dataset, volume: Volume) -> list[int]:
    """The slice of each frame: highdicom sorts frames by its own rule, and the pixels go where their frames are."""
    places = [
        frame.PlanePositionSequence[0].ImagePositionPatient
        for frame in dataset.PerFrameFunctionalGroupsSequence
    ]
    normal, geometry = volume.geometry.normal, volume.geometry
    heights = [float(normal @ geometry.position(k, 0, 0)) for k in range(geometry.size[0])]
    found = [int(np.searchsorted(heights, float(normal @ np.array(p, float)) - 1e-3)) for p in places]
    assert sorted(found) == list(range(len(heights)))
    return found


def _image(path: Path) -> Dataset:
    """The header of one image of ours, with what every image must have."""
    image = dcmread(path, stop_before_pixels=True)
    for keyword in _NEEDED:
        if keyword not in image:
            setattr(image, keyword, None)
    return image


def _made(volume: Volume, quantity: Quantity, images: Sequence[Dataset], series_uid: str) -> Any:
    """The map by highdicom, with frames of one pixel."""
    import highdicom as hd
    from highdicom.pm import DerivedPixelContrastValues, ParametricMap, RealWorldValueMapping
    from pydicom.sr.coding import Code

    geometry, series, derivation = volume.geometry, volume.source, volume.derivation
    assert isinstance(series, DicomSeries)
    dz, dy, dx = geometry.spacing
    thickness = (series.frame_group(0, "PixelMeasuresSequence") or images[0]).get("SliceThickness")
    bound = float(np.finfo(np.float32).max)
    mapping = RealWorldValueMapping(
        lut_label=quantity.label,
        lut_explanation=quantity.explanation,
        unit=Code(*quantity.unit),
        value_range=(-bound, bound),
        slope=1.0,
        intercept=0.0,
        quantity_definition=Code(*quantity.concept),
    )
    measures = hd.PixelMeasuresSequence(
        pixel_spacing=[float(ds(dy)), float(ds(dx))],
        slice_thickness=float(ds(dz)) if thickness is None else float(thickness),
    )
    directions = (*geometry.column_direction, *geometry.row_direction)
    orientation = hd.PlaneOrientationSequence("PATIENT", [float(ds(x)) for x in directions])
    positions = [
        hd.PlanePositionSequence("PATIENT", [float(ds(float(x))) for x in geometry.position(k, 0, 0)])
        for k in range(geometry.size[0])
    ]
    faces = any("YES" in text(image, "RecognizableVisualFeatures") for image in images)
    return ParametricMap(
        source_images=images,
        pixel_array=np.zeros((geometry.size[0], 1, 1), np.float32),
        series_instance_uid=series_uid,
        series_number=derived_number(series.series_number, series.sibling_series_numbers),
        sop_instance_uid=uid(series_uid, "0"),
        instance_number=1,
        manufacturer="mesr",
        manufacturer_model_name="mesr" if derivation is None else ascii_text(derivation.model, 64),
        software_versions=f"mesr {__version__}",
        device_serial_number="none" if derivation is None else derivation.weights_sha256,
        contains_recognizable_visual_features=faces,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.0, window_width=quantity.window)],
        content_description=quantity.explanation,
        content_label=quantity.label.upper(),
        pixel_measures=measures,
        plane_orientation=orientation,
        plane_positions=positions,
        derived_pixel_contrast=DerivedPixelContrastValues.QUANTITY,
        derivation=Code(*quantity.derivation),
    )
