"""MetaImage: `.mha`, and `.mhd` with its data file beside it; a text header, then the voxels.

Read without ITK on purpose: ITK opens whatever file `ElementDataFile` names, anywhere on the machine, and
writes only whole volumes. The world is LPS in mm (https://itk.org/Wiki/ITK/MetaIO/Documentation).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import GeometryInput, UnreadableInput, UnsupportedInput
from ..geometry import Geometry
from ..volume import Note, Volume
from .raw import Compression, RawSlices, beside, opened
from .stored import Encoding, OnSlice, Source, append, encoding_for, provenance

MAX_HEADER = 1 << 20
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""numpy's names; MetaIO's LONG has four bytes on disk."""
ALIASES = {
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "Position": "Offset",
    "Origin": "Offset",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}


@dataclass(frozen=True)
class MetaImageSource(Source):
    """A MetaImage; nothing besides the common part is carried over."""


def read(path: Path) -> Volume:
    """The volume in `path`; reads the header only. Modality None and unit "": MetaImage tells neither.

    Raises:
        UnreadableInput: codes `not-metaimage`, `data-file`, `truncated`, `surplus`, `empty`.
        UnsupportedInput: codes `four-dimensional`, `voxel-type`.
        GeometryInput: no usable spacing or orientation.
        TooLarge: code `too-large`.
    """
    with opened(path) as stream:
        fields = _fields(stream, path)
        start = stream.tell()
    try:
        dimensions = int(fields.get("NDims", ""))
        size = tuple(int(n) for n in fields.get("DimSize", "").split())
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        header_size = int(fields.get("HeaderSize", "0"))
    except ValueError:
        raise _damaged(path) from None
    if len(size) != dimensions or header_size < -1:
        raise _damaged(path)
    if dimensions not in (2, 3):
        raise UnsupportedInput(
            "four-dimensional",
            f"An image of two or three dimensions was expected, found {dimensions}.",
            "Extract one volume first.",
            path,
        )
    kind = TYPES.get(fields.get("ElementType", ""))
    if kind is None or channels != 1 or _yes(fields, "BinaryData", "True") is False:
        raise UnsupportedInput("voxel-type", "Voxels must be binary real numbers of one channel.", path=path)
    dtype = np.dtype(kind).newbyteorder(">" if _yes(fields, "BinaryDataByteOrderMSB", "False") else "<")
    compression: Compression = "zlib" if _yes(fields, "CompressedData", "False") else ""
    shape = (size[2] if dimensions == 3 else 1, size[1], size[0])
    local = fields["ElementDataFile"] in ("LOCAL", "Local", "local")
    data = path if local else beside(path, fields["ElementDataFile"])
    # A HeaderSize counts from the beginning of the file that holds the voxels, this one too.
    if header_size > 0 or not local:
        start = max(header_size, 0)
    if header_size == -1 and not compression:
        start = data.stat().st_size - int(np.prod([*shape, dtype.itemsize], dtype=object))
    encoding = Encoding(dtype)
    voxels = RawSlices(data, start, shape, encoding, compression)
    geometry = _geometry(fields, dimensions, shape, path)
    return Volume(geometry, voxels, source=MetaImageSource("metaimage", path, encoding, geometry))


def write(volume: Volume, path: Path, on_slice: OnSlice = None) -> tuple[int, tuple[Note, ...]]:
    """Write `path` as one uncompressed `.mha`, 3-D also for one slice; the clipped voxels and no notes.

    int16 or float32 by `encoding_for`; a source's slope cannot be said here and makes it float32.
    """
    geometry = volume.geometry
    encoding = encoding_for(volume, rescale=False)
    directions = geometry.directions[::-1].ravel()
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "Comment": provenance(volume),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": _numbers(directions),
        "Offset": _numbers(geometry.origin),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _numbers(geometry.spacing[::-1]),
        "DimSize": " ".join(str(n) for n in reversed(geometry.size)),
        "ElementType": "MET_SHORT" if encoding.dtype.kind == "i" else "MET_FLOAT",
        "ElementDataFile": "LOCAL",
    }
    if not geometry.known:
        for name in ("TransformMatrix", "Offset", "CenterOfRotation", "ElementSpacing"):
            del fields[name]
    with path.open("wb") as stream:
        for name, value in fields.items():
            if value:
                stream.write(f"{name} = {value}\n".encode("ascii"))
        return append(stream, volume, encoding, on_slice), ()


def _fields(stream: IO[bytes], path: Path) -> dict[str, str]:
    """The header up to and with `ElementDataFile`, which ends it; the stream stands behind it."""
    fields: dict[str, str] = {}
    while "ElementDataFile" not in fields:
        line = stream.readline(MAX_HEADER)
        name, equals, value = line.decode("latin-1").partition("=")
        if not equals or stream.tell() > MAX_HEADER:
            raise UnreadableInput("not-metaimage", "The file has no MetaImage header.", path=path)
        name = name.strip()
        fields[ALIASES.get(name, name)] = value.strip()
    return fields


def _geometry(fields: dict[str, str], dimensions: int, size: tuple[int, int, int], path: Path) -> Geometry:
    """MetaIO prints the direction of each axis in turn: x (our columns), y (rows), z (slices)."""
    if not {"ElementSpacing", "ElementSize"} & set(fields):
        return Geometry.unknown(size)
    if fields.get("DistanceUnits", "mm") not in ("mm", "?"):
        raise GeometryInput("unit", "Distances in mm were expected, found another unit.", path=path)
    try:
        spacing = [float(v) for v in fields.get("ElementSpacing", fields.get("ElementSize", "")).split()]
        origin = [float(v) for v in fields.get("Offset", " ".join("0" * dimensions)).split()]
        turned = fields.get("TransformMatrix", _numbers(np.eye(dimensions).ravel()))
        matrix = np.array([float(v) for v in turned.split()]).reshape(dimensions, dimensions)
    except ValueError:
        raise _damaged(path) from None
    if len(spacing) != dimensions or len(origin) != dimensions:
        raise _damaged(path)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    # A header may hold infinities; `Geometry` refuses what comes of them.
    with np.errstate(invalid="ignore"):
        for axis in range(dimensions):
            affine[:dimensions, 2 - axis] = matrix[axis] * spacing[axis]
    if dimensions == 2:
        affine[:3, 0] = (0, 0, 1)
    affine[:dimensions, 3] = origin
    try:
        return Geometry.from_affine(size, affine)
    except GeometryInput as error:
        error.path = path
        raise


def _yes(fields: dict[str, str], name: str, default: str) -> bool:
    return fields.get(name, default)[:1] in ("T", "t", "1", "Y", "y")


def _numbers(values: object) -> str:
    return " ".join(repr(float(v)) for v in np.asarray(values, dtype=np.float64))


def _damaged(path: Path) -> UnreadableInput:
    return UnreadableInput("not-metaimage", "The MetaImage header is incomplete or damaged.", path=path)
