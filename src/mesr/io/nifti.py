"""NIfTI-1 and -2 in one file, `.nii` or `.nii.gz`; nibabel understands the header, voxels are read lazily.

The rules (https://nifti.nimh.nih.gov/nifti-1): the sform places the image where its code is above 0, else the
qform, else spacing alone. Where both are given and differ, the sform counts and a note says so. NIfTI's world is
RAS; its dimensions x, y, z are our columns, rows and slices.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from ..errors import GeometryInput, UnreadableInput, UnsupportedInput
from ..geometry import LPS_TO_RAS, Geometry
from ..limits import MAX_HEADER_BYTES
from ..volume import Note, Volume
from .raw import Compression, RawSlices, opened
from .stored import Encoding, OnSlice, Sink, Source, append, encoding_for, provenance

Matrix = npt.NDArray[np.float64]
MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
"""Millimetres in the header's unit of length: unknown (taken as mm), m, mm, µm."""
HEADERS: dict[int, Any] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
"""By the length that a header begins with."""
LABEL = 1002
"""The intent code of a label map."""
MAX_SIDE_1 = 32767
"""The largest side NIfTI-1's 16-bit dimensions can hold."""
SWAP = np.eye(4)[[2, 1, 0, 3]]
"""Takes (x, y, z, 1) to (k, i, j, 1) and back."""
GZIP_LEVEL = 4
"""Float images hardly shrink further above it and take several times as long."""


@dataclass(frozen=True)
class NiftiSource(Source):
    """A NIfTI header and the bytes of its extensions, extender included."""

    header: Any = field(repr=False, default=None)
    extensions: bytes = field(repr=False, default=b"\0\0\0\0")


def read(path: Path) -> Volume:
    """The volume in `path`; reads the header only, voxels when a slice is asked for.

    Modality None and unit "": NIfTI tells neither. A trailing dimension of 1 is dropped (and written back);
    slope 0 or not finite means none, as the standard says.

    Raises:
        UnreadableInput: codes `not-nifti`, `truncated`, `surplus`, `empty`.
        UnsupportedInput: codes `pair`, `four-dimensional`, `voxel-type`, `label-map`.
        GeometryInput: no usable spacing or orientation.
        TooLarge: code `too-large`.
    """
    header, extensions, compression = _head(path)
    shape = [int(n) for n in header["dim"][1 : 1 + max(0, min(7, int(header["dim"][0])))]]
    if len(shape) < 2 or any(n != 1 for n in shape[3:]):
        raise UnsupportedInput(
            "four-dimensional",
            f"An image of two or three dimensions was expected, found {len(shape)}: {shape}.",
            "Extract one volume first.",
            path,
        )
    columns, rows, slices = (*shape, 1)[:3]
    size = (slices, rows, columns)
    encoding = _encoding(header, path)
    if int(header["intent_code"]) == LABEL:
        raise UnsupportedInput("label-map", "The file is a label map, which has no intensities.", path=path)
    start = int(header["vox_offset"])
    placed = (0, start) if compression else (start, 0)
    voxels = RawSlices(path, placed[0], size, encoding, compression, skip=placed[1])
    geometry, notes = _geometry(header, size, path)
    source = NiftiSource("nifti", path, encoding, geometry, header, extensions)
    return Volume(geometry, voxels, source=source, notes=notes)


def write(volume: Volume, path: Path, on_slice: OnSlice = None) -> tuple[int, tuple[Note, ...]]:
    """Write `path`, gzipped where it ends in `.gz`; the clipped voxels and what is worth telling.

    A NIfTI source's header, extensions, unit of length, codes and byte order are carried over; the sform
    and qform are both written, the qform with code 0 where it cannot hold the image's shear. int16 or
    float32 by `encoding_for`. NIfTI-2 where a side is beyond 32767.
    """
    source = volume.source if isinstance(volume.source, NiftiSource) else None
    geometry = volume.geometry
    encoding = encoding_for(volume)
    header = _blank(geometry) if source is None else source.header.copy()
    if max(geometry.size) > MAX_SIDE_1 and not isinstance(header, nib.Nifti2Header):
        header = HEADERS[540].from_header(header, check=False)
    extensions = b"\0\0\0\0" if source is None else source.extensions
    encoding = Encoding(encoding.dtype.newbyteorder(header.endianness), encoding.slope, encoding.intercept)
    slices, rows, columns = geometry.size
    trailing = 0 if source is None else max(0, int(source.header["dim"][0]) - 3)
    flat = source is not None and int(source.header["dim"][0]) == 2 and slices == 1
    header.set_data_shape((columns, rows) if flat else (columns, rows, slices, *[1] * trailing))
    header.set_data_dtype(encoding.dtype)
    header.set_slope_inter(encoding.slope, encoding.intercept)
    notes = _place(header, geometry, source)
    header["sizeof_hdr"] = header.sizeof_hdr
    header["magic"] = b"n+2" if isinstance(header, nib.Nifti2Header) else b"n+1"
    header["vox_offset"] = header.sizeof_hdr + len(extensions)
    if line := provenance(volume):
        header["descrip"] = line.encode("ascii")[:79]
    if isinstance(header, nib.Nifti2Header):
        header["eol_check"] = (13, 10, 26, 10)
    with path.open("wb") as file:
        if path.suffix == ".gz":
            # No name and no time inside: the same result gives the same bytes.
            with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed:
                return _stream(packed, header, extensions, volume, encoding, on_slice), notes
        return _stream(file, header, extensions, volume, encoding, on_slice), notes


def _stream(
    stream: Sink, header: Any, extensions: bytes, volume: Volume, encoding: Encoding, on_slice: OnSlice
) -> int:
    stream.write(header.binaryblock)
    stream.write(extensions)
    return append(stream, volume, encoding, on_slice)


def _head(path: Path) -> tuple[Any, bytes, Compression]:
    """The header, the bytes between it and the voxels, and how the file is compressed."""
    with opened(path) as file:
        compression: Compression = "gzip" if file.read(2) == b"\x1f\x8b" else ""
        file.seek(0)
        stream: IO[bytes] = gzip.GzipFile(fileobj=file) if compression else file  # type: ignore[assignment]
        try:
            block = stream.read(348)
            order = {348: "<", 540: "<"}.get(int.from_bytes(block[:4], "little"), ">")
            length = int.from_bytes(block[:4], "little" if order == "<" else "big")
            if length not in (348, 540) or len(block) < 348:
                raise UnreadableInput("not-nifti", "The file does not begin with a NIfTI header.", path=path)
            block += stream.read(length - 348)
            if len(block) < length:
                raise UnreadableInput("truncated", "The NIfTI header is cut short.", path=path)
            header = HEADERS[length](block, order, check=False)
            magic = bytes(header["magic"])[:3]
            if magic in (b"ni1", b"ni2"):
                raise UnsupportedInput(
                    "pair",
                    "A NIfTI image in one file was expected, found the header of a pair.",
                    "Convert it to .nii.",
                    path,
                )
            if magic not in (b"n+1", b"n+2"):
                raise UnreadableInput("not-nifti", "The header lacks NIfTI's magic text.", path=path)
            start = float(header["vox_offset"])
            if not length <= start <= MAX_HEADER_BYTES or start != int(start):
                raise UnreadableInput("not-nifti", "The header gives voxels an impossible place.", path=path)
            extensions = stream.read(int(start) - length)
        except (EOFError, OSError, zlib.error):
            raise UnreadableInput(
                "truncated", "The compressed file is damaged or cut short.", path=path
            ) from None
        if len(extensions) < int(start) - length:
            raise UnreadableInput("truncated", "The NIfTI header is cut short.", path=path)
        return header, extensions, compression


def _encoding(header: Any, path: Path) -> Encoding:
    try:
        dtype = np.dtype(header.get_data_dtype())
        slope, intercept = header.get_slope_inter()
    except (HeaderDataError, KeyError):
        dtype = np.dtype("V")
        slope = intercept = None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UnsupportedInput(
            "voxel-type",
            f"Voxels must be real numbers of one channel; this file's have NIfTI type {int(header['datatype'])}"
            " or an intercept that is not a number.",
            "Complex, colour and 128-bit voxels are not handled.",
            path,
        )
    return Encoding(dtype, 1.0 if slope is None else float(slope), 0.0 if slope is None else float(intercept))


def _geometry(header: Any, size: tuple[int, int, int], path: Path) -> tuple[Geometry, tuple[Note, ...]]:
    unit = int(header["xyzt_units"]) & 7
    if unit not in MM:
        raise GeometryInput("unit", f"The unit of length has the unknown code {unit}.", path=path)
    sform = header.get_sform() if int(header["sform_code"]) > 0 else None
    qform = _qform(header)
    notes: list[Note] = []
    if sform is not None:
        affine = sform
    elif qform is not None:
        affine = qform
    else:
        affine = header.get_base_affine()
        notes.append(
            Note("no-orientation", "The file gives spacing but no orientation; axes and mm were assumed.")
        )
    affine = np.asarray(affine, dtype=np.float64)
    if size[0] == 1 and not affine[:3, 2].any():
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1]) / (np.linalg.norm(affine[:3, 0]) or 1.0)
    try:
        geometry = Geometry.from_affine(size, _world(affine, MM[unit]))
    except GeometryInput as error:
        error.path = path
        raise
    if sform is not None and qform is not None:
        apart = _apart(sform, qform, size) * MM[unit]
        if not apart <= 0.1 * min(geometry.spacing):
            far = f"up to {apart:.3g} mm apart" if np.isfinite(apart) else "incomparably"
            text = f"The sform and the qform place the image {far}; the sform was taken."
            notes.append(Note("two-orientations", text))
    return geometry, tuple(notes)


def _qform(header: Any) -> Matrix | None:
    """The qform's matrix, or None where its code is 0; NaN throughout where its quaternion is none."""
    if int(header["qform_code"]) <= 0:
        return None
    try:
        with np.errstate(invalid="ignore"):
            return np.asarray(header.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError):
        return np.full((4, 4), np.nan)


def _world(affine: Matrix, factor: float) -> Matrix:
    """Between (x, y, z) → RAS in the header's unit and (k, i, j) → LPS mm; `factor` is mm per unit."""
    # A header may hold infinities; `Geometry` refuses what comes of them.
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diag([factor, factor, factor, 1.0]) @ LPS_TO_RAS @ affine @ SWAP)


def _apart(a: Matrix, b: Matrix, size: tuple[int, int, int]) -> float:
    """The largest distance between what two matrices make of the eight corner voxels."""
    ends = [(0, n - 1) for n in reversed(size)]
    corners = np.array([(x, y, z, 1) for x in ends[0] for y in ends[1] for z in ends[2]], dtype=np.float64)
    return float(np.linalg.norm((corners @ (a - b).T)[:, :3], axis=1).max())


def _blank(geometry: Geometry) -> Any:
    header = HEADERS[348]()
    header.set_xyzt_units("mm" if geometry.known else "unknown")
    code = 1 if geometry.known else 0
    header["sform_code"] = header["qform_code"] = code
    return header


def _place(header: Any, geometry: Geometry, source: NiftiSource | None) -> tuple[Note, ...]:
    """Write spacing, sform and qform; a qform that differed from the sform moves by the same voxel mapping."""
    factor = 1 / MM[int(header["xyzt_units"]) & 7]
    affine = _world(geometry.affine, factor)
    qform = affine
    if source is not None and (held := _qform(source.header)) is not None and np.isfinite(held).all():
        qform = held @ np.linalg.solve(_world(source.geometry.affine, factor), affine)
    directions = geometry.directions
    sheared = np.abs(directions @ directions.T - np.eye(3)).max() > 1e-4
    codes = int(header["sform_code"]), int(header["qform_code"])
    dimensions = int(header["dim"][0])
    spacing = np.array(geometry.spacing[::-1]) * factor
    header["pixdim"][1:4] = spacing
    header["pixdim"][4 : 1 + dimensions] = np.where(
        header["pixdim"][4 : 1 + dimensions] > 0, header["pixdim"][4 : 1 + dimensions], 1
    )
    header.set_sform(affine, 0)
    header.set_qform(qform, 0, strip_shears=True)
    # Past nibabel, which refuses the codes it does not know; what they stand for is not ours to change.
    header["sform_code"], header["qform_code"] = codes[0], 0 if sheared else codes[1]
    if sheared and codes[1]:
        return (
            Note(
                "sheared-qform",
                "A NIfTI qform cannot hold the image's shear; only the sform was set, which programs built on ITK refuse.",
            ),
        )
    return ()
