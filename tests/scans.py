"""Small synthetic scans, made where a test needs them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import jpeg_ls
import numpy as np
import numpy.typing as npt
import openjpeg.utils
import rle.utils
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

NO_LOSS = (JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless)
Edit = Callable[[Dataset, int], None]
IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Recipe:
    """What a synthetic DICOM series is like.

    Attributes:
        size: (slices, rows, columns).
        spacing: (dz, dy, dx), mm; dz is measured along the step, which `tilt` leans from the normal.
        heights: places of the slices along the step, mm; even where None.
        tilt: gantry tilt, degrees about the patient's x axis.
        slopes, intercepts: one for each slice, or one for all.
        padding, padding_limit: as stored; the first two rows are filled with `padding`.
        edit: called with each data set and its slice (or -1, Enhanced) just before it is written.
    """

    modality: str = "CT"
    size: tuple[int, int, int] = (5, 32, 40)
    spacing: tuple[float, float, float] = (2.5, 0.8, 0.7)
    origin: tuple[float, float, float] = (-100.0, -80.0, 30.0)
    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    heights: Sequence[float] | None = None
    tilt: float = 0.0
    slopes: Sequence[float] = (1.0,)
    intercepts: Sequence[float] = (-1024.0,)
    padding: int | None = None
    padding_limit: int | None = None
    bits_stored: int = 12
    signed: bool = False
    monochrome1: bool = False
    syntax: str = ExplicitVRLittleEndian
    study: str = "1.2.826.0.1.3680043.8.498.1"
    series: str = "1.2.826.0.1.3680043.8.498.1.2"
    series_number: int = 3
    seed: int = 0
    edit: Edit | None = None


@dataclass(frozen=True)
class Scan:
    """A series on disk: its files by slice, and what they hold.

    Attributes:
        stored: (slices, rows, columns) integers.
        values: rescaled, float32.
        positions: (slices, 3) ImagePositionPatient, mm.
    """

    paths: list[Path]
    stored: IntArray
    values: npt.NDArray[np.float32]
    positions: npt.NDArray[np.float64]


def dicom_series(folder: Path, recipe: Recipe | None = None, **changes: object) -> Scan:
    """Write a classic series, one file a slice, under names in no order of place."""
    made = dataclasses.replace(recipe or Recipe(), **changes)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    stored, positions = _stored(made), _positions(made)
    paths = []
    for k in range(made.size[0]):
        data = _common(made, k)
        data.SOPClassUID = CTImageStorage if made.modality == "CT" else MRImageStorage
        data.SOPInstanceUID = generate_uid(entropy_srcs=[made.series, str(k), str(made.seed)])
        data.ImagePositionPatient = [round(float(x), 6) for x in positions[k]]
        data.ImageOrientationPatient = list(made.orientation)
        data.PixelSpacing = list(made.spacing[1:])
        data.SliceThickness = made.spacing[0]
        data.RescaleSlope, data.RescaleIntercept = _rescale(made, k)
        path = folder / f"{(k * 7919) % 10007:05d}.dcm"
        _write(path, data, stored[k : k + 1], made, k)
        paths.append(path)
    return Scan(paths, stored, _values(made, stored), positions)


def enhanced_file(path: Path, recipe: Recipe | None = None, **changes: object) -> Scan:
    """Write one Enhanced CT or MR file, its frames in reverse order of place."""
    made = dataclasses.replace(recipe or Recipe(), **changes)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    stored, positions = _stored(made), _positions(made)
    data = _common(made, 0)
    data.SOPClassUID = EnhancedCTImageStorage if made.modality == "CT" else EnhancedMRImageStorage
    data.SOPInstanceUID = generate_uid(entropy_srcs=[made.series])
    data.NumberOfFrames = made.size[0]
    measures = _item(PixelSpacing=list(made.spacing[1:]), SliceThickness=made.spacing[0])
    data.SharedFunctionalGroupsSequence = [
        _item(
            PixelMeasuresSequence=[measures],
            PlaneOrientationSequence=[_item(ImageOrientationPatient=list(made.orientation))],
        )
    ]
    frames = []
    for k in reversed(range(made.size[0])):
        slope, intercept = _rescale(made, k)
        transformation = _item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")
        frames.append(
            _item(
                PlanePositionSequence=[
                    _item(ImagePositionPatient=[round(float(x), 6) for x in positions[k]])
                ],
                FrameContentSequence=[_item(StackID="1", InStackPositionNumber=k + 1)],
                PixelValueTransformationSequence=[transformation],
            )
        )
    data.PerFrameFunctionalGroupsSequence = frames
    _write(path, data, stored[::-1], made, -1)
    return Scan([path], stored, _values(made, stored), positions)


def encoded(image: IntArray, syntax: str, bits: int, signed: bool) -> bytes:
    """One frame (rows, columns) compressed as `syntax` asks; values as two's complement where signed."""
    rows, columns = image.shape
    bare = (image.astype(np.int64) & ((1 << bits) - 1)).astype(np.uint16)
    if syntax == RLELossless:
        data = image.astype("<i2" if signed else "<u2").tobytes()
        return bytes(
            rle.utils.encode_pixel_data(
                data, rows=rows, columns=columns, samples_per_pixel=1, bits_allocated=16, byteorder="<"
            )
        )
    if syntax == JPEG2000Lossless:
        return bytes(
            openjpeg.utils.encode_array(image.astype(np.int16 if signed else np.uint16), bits_stored=bits)
        )
    if syntax == JPEGLSLossless:
        return bytes(jpeg_ls.encode_buffer(bare.tobytes(), rows, columns, 1, bits))
    if syntax == JPEGExtended12Bit:
        return bytes(imagecodecs.jpeg8_encode(bare, 98, bitspersample=12))
    predictor = 1 if syntax == JPEGLosslessSV1 else 6
    return bytes(imagecodecs.jpeg8_encode(bare, lossless=True, predictor=predictor, bitspersample=bits))


def _common(made: Recipe, k: int) -> Dataset:
    data = Dataset()
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if made.modality == "CT" else "M"]
    data.Modality = made.modality
    data.PatientName, data.PatientID = "ZZPHI^MARKER", "ZZPHI-ID"
    data.PatientBirthDate, data.PatientSex = "", "O"
    data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20200102", "030405", "1", ""
    data.ReferringPhysicianName, data.Manufacturer = "", "mesr tests"
    data.StudyInstanceUID, data.SeriesInstanceUID = made.study, made.series
    data.SeriesNumber, data.InstanceNumber = made.series_number, k + 1
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = f"{made.study}.9", ""
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME1" if made.monochrome1 else "MONOCHROME2"
    data.Rows, data.Columns = made.size[1:]
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, made.bits_stored, made.bits_stored - 1
    data.PixelRepresentation = int(made.signed)
    vr = "SS" if made.signed else "US"
    if made.padding is not None:
        data.add_new("PixelPaddingValue", vr, made.padding)
    if made.padding_limit is not None:
        data.add_new("PixelPaddingRangeLimit", vr, made.padding_limit)
    if made.modality == "CT":
        data.KVP, data.AcquisitionNumber = "120", 1
    return data


def _write(path: Path, data: Dataset, frames: IntArray, made: Recipe, k: int) -> None:
    native = frames.astype("i2" if made.signed else "u2")
    little = made.syntax != ExplicitVRBigEndian
    if made.syntax in (*NO_LOSS, JPEGExtended12Bit):
        data.PixelData = encapsulate(
            [encoded(frame, made.syntax, made.bits_stored, made.signed) for frame in frames]
        )
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
    else:
        data.PixelData = native.astype(native.dtype.newbyteorder("<" if little else ">")).tobytes()
        data["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    meta.TransferSyntaxUID = made.syntax
    data.file_meta = meta
    if made.edit is not None:
        made.edit(data, k)
    data.save_as(path, enforce_file_format=True)


def _stored(made: Recipe) -> IntArray:
    """A bright disk on a ramp, with noise that differs between slices; inside the range of the bits."""
    slices, rows, columns = made.size
    rng = np.random.default_rng(made.seed)
    y, x = np.mgrid[:rows, :columns]
    disk = np.hypot(y - rows / 2, x - columns / 2) < rows / 3
    top = (1 << (made.bits_stored - int(made.signed))) - 1
    base = 0.3 * top * disk + 4 * x - (200 if made.signed else -20)
    image = base + rng.normal(0, 20, (slices, rows, columns))
    low = -top - 1 if made.signed else 0
    stored = np.clip(np.rint(image), low, top).astype(np.int32)
    if made.padding is not None:
        stored[:, :2] = made.padding
    return stored


def _positions(made: Recipe) -> npt.NDArray[np.float64]:
    across, down = np.array(made.orientation[:3]), np.array(made.orientation[3:])
    normal, angle = np.cross(across, down), np.radians(made.tilt)
    step = np.cos(angle) * normal + np.sin(angle) * down
    heights = np.arange(made.size[0]) * made.spacing[0] if made.heights is None else np.array(made.heights)
    return np.asarray(np.array(made.origin) + heights[:, None] * step)


def _rescale(made: Recipe, k: int) -> tuple[float, float]:
    return made.slopes[k % len(made.slopes)], made.intercepts[k % len(made.intercepts)]


def _values(made: Recipe, stored: IntArray) -> npt.NDArray[np.float32]:
    pairs = np.array([_rescale(made, k) for k in range(made.size[0])])
    return np.asarray(stored * pairs[:, :1, None] + pairs[:, 1:, None], dtype=np.float32)


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item
