"""NRRD: `.nrrd`, and `.nhdr` with its data file beside it; pynrrd understands the header, voxels are read lazily.

Positions are kept in the file's own space (left-posterior-superior, right-anterior-superior, …) and meet ours,
LPS, only here (http://teem.sourceforge.net/nrrd/format.html).
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import nrrd
import numpy as np
import numpy.typing as npt

from ..errors import GeometryInput, UnreadableInput, UnsupportedInput
from ..files import plain_text
from ..geometry import Geometry
from ..volume import Note, Volume
from .raw import Compression, RawSlices, beside, opened
from .stored import Encoding, OnSlice, Source, append, encoding_for, provenance

MAX_HEADER = 1 << 20
GZIP_LEVEL = 4
COMPRESSIONS: dict[str, Compression] = {
    "raw": "",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
}
TYPES = {
    name: kind
    for kind, names in {
        "i1": "signed char, int8, int8_t",
        "u1": "uchar, unsigned char, uint8, uint8_t",
        "i2": "short, short int, signed short, signed short int, int16, int16_t",
        "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
        "i4": "int, signed int, int32, int32_t",
        "u4": "uint, unsigned int, uint32, uint32_t",
        "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
        "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split(", ")
}
SCALAR_KINDS = {"domain", "space", "none", "???", "scalar", "stub", "1-vector"}
AXES = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
"""Which LPS axis a letter of a space lies along, and which way."""
MM = {"": 1.0, "mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3}
CARRIED = ("content", "sample units")
LPS = "left-posterior-superior"
FIELDS = {
    *(
        "dimension",
        "type",
        "block size",
        "blocksize",
        "encoding",
        "endian",
        "sizes",
        "spacings",
        "thicknesses",
    ),
    *("space", "space dimension", "space units", "space origin", "space directions", "measurement frame"),
    *("axis mins", "axismins", "axis maxs", "axismaxs", "centers", "centerings", "labels", "units", "kinds"),
    *("min", "max", "old min", "oldmin", "old max", "oldmax", "data file", "datafile", "number"),
    *("line skip", "lineskip", "byte skip", "byteskip", *CARRIED),
}
"""The format's own fields; any other name is the user's key and value, which is carried over."""


@dataclass(frozen=True)
class NrrdSource(Source):
    """The space a NRRD keeps its positions in, and the texts that are carried over."""

    space: str = LPS
    carried: dict[str, str] = field(repr=False, default_factory=dict)


def read(path: Path) -> Volume:
    """The volume in `path`; reads the header only. Modality None and unit "": NRRD tells neither.

    Raises:
        UnreadableInput: codes `not-nrrd`, `data-file`, `truncated`, `surplus`, `empty`.
        UnsupportedInput: codes `four-dimensional`, `voxel-type`, `nrrd-encoding`.
        GeometryInput: no usable spacing or orientation.
        TooLarge: code `too-large`.
    """
    with opened(path) as stream:
        fields = _fields(stream, path)
        start = stream.tell()
    try:
        sizes = [int(n) for n in fields["sizes"]]
        if int(fields["dimension"]) != len(sizes):
            raise _damaged(path)
        size = _size(sizes, fields, path)
        encoding = _encoding(fields, path)
        compression, skip = _packing(fields, path)
        # A header may hold infinities; `Geometry` refuses what comes of them.
        with np.errstate(invalid="ignore"):
            geometry, notes = _geometry(fields, size, path)
    except (KeyError, TypeError, ValueError, IndexError):
        raise _damaged(path) from None
    data = path
    if name := fields.get("data file", fields.get("datafile")):
        data, start = beside(path, name), 0
    elif path.suffix.lower() == ".nhdr":
        raise _damaged(path)
    if skip == -1:
        start, skip = data.stat().st_size - int(np.prod([*size, encoding.dtype.itemsize], dtype=object)), 0
    # Bytes are skipped after unpacking (the standard's order).
    voxels = RawSlices(data, start, size, encoding, compression, skip)
    own = {k: v for k, v in fields.items() if isinstance(v, str) and (k not in FIELDS or k in CARRIED)}
    source = NrrdSource("nrrd", path, encoding, geometry, fields.get("space", LPS), own)
    return Volume(geometry, voxels, source=source, notes=notes)


def write(volume: Volume, path: Path, on_slice: OnSlice = None) -> tuple[int, tuple[Note, ...]]:
    """Write `path` as one gzipped `.nrrd`, 3-D also for one slice; the clipped voxels and no notes.

    A NRRD source's space, content, sample units and keys are carried over; millimetres throughout. int16 or
    float32 by `encoding_for`; a source's slope cannot be said here and makes it float32.
    """
    source = volume.source if isinstance(volume.source, NrrdSource) else None
    geometry = volume.geometry
    encoding = encoding_for(volume, rescale=False)
    carried = {} if source is None else source.carried
    lines = ["NRRD0005", f"type: {'int16' if encoding.dtype.kind == 'i' else 'float'}", "dimension: 3"]
    if geometry.known:
        space = LPS if source is None else source.space
        to_space = np.linalg.inv(_to_lps(space)[0])
        columns = (to_space @ geometry.affine[:3, :3]).T[::-1]
        vectors = " ".join(_vector(column) for column in columns)
        lines += [f"space: {space}", f"space directions: {vectors}"]
        lines += [
            f"space origin: {_vector(to_space @ np.array(geometry.origin))}",
            'space units: "mm" "mm" "mm"',
        ]
    lines += [f"sizes: {' '.join(str(n) for n in reversed(geometry.size))}", "kinds: domain domain domain"]
    lines += ["endian: little", "encoding: gzip"]
    lines += [f"{name}: {carried[name]}" for name in CARRIED if name in carried]
    lines += [f"{name}:={value}" for name, value in carried.items() if name not in (*CARRIED, "mesr")]
    if line := provenance(volume):
        lines.append(f"mesr:={line}")
    with path.open("wb") as file:
        file.write(("\n".join(lines) + "\n\n").encode("ascii", "replace"))
        # No name and no time inside: the same result gives the same bytes.
        with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed:
            return append(packed, volume, encoding, on_slice), ()


def _fields(stream: IO[bytes], path: Path) -> dict[str, Any]:
    """The parsed header; the stream stands behind the empty line that ends it."""
    lines = [stream.readline(MAX_HEADER)]
    if not lines[0].startswith(b"NRRD000"):
        raise UnreadableInput("not-nrrd", "The file does not begin with a NRRD header.", path=path)
    while (line := stream.readline(MAX_HEADER)).strip():
        lines.append(line)
        if stream.tell() > MAX_HEADER:
            raise _damaged(path)
    try:
        with np.errstate(invalid="ignore"):
            return dict(nrrd.read_header(lines))
    except (nrrd.NRRDError, ArithmeticError, LookupError, TypeError, ValueError):
        raise _damaged(path) from None


def _size(sizes: list[int], fields: dict[str, Any], path: Path) -> tuple[int, int, int]:
    if len(sizes) not in (2, 3) or not set(fields.get("kinds", ())) <= SCALAR_KINDS:
        raise UnsupportedInput(
            "four-dimensional",
            f"An image of two or three spatial dimensions was expected, found {len(sizes)} axes"
            f" of kinds {plain_text(', '.join(str(k) for k in fields.get('kinds', ['unknown'])))}.",
            "Extract one volume first.",
            path,
        )
    return (sizes[2] if len(sizes) == 3 else 1, sizes[1], sizes[0])


def _encoding(fields: dict[str, Any], path: Path) -> Encoding:
    kind = TYPES.get(fields["type"])
    if kind is None:
        raise UnsupportedInput("voxel-type", "Voxels must be real numbers.", path=path)
    dtype = np.dtype(kind)
    if dtype.itemsize == 1:
        return Encoding(dtype)
    if fields["endian"] not in ("little", "big"):
        raise _damaged(path)
    return Encoding(dtype.newbyteorder(">" if fields["endian"] == "big" else "<"))


def _packing(fields: dict[str, Any], path: Path) -> tuple[Compression, int]:
    """Compression, and the bytes to skip behind the header; −1: count from the end of the file."""
    skip = int(fields.get("byte skip", fields.get("byteskip", 0)))
    lines = int(fields.get("line skip", fields.get("lineskip", 0)))
    compression = COMPRESSIONS.get(fields["encoding"])
    if compression is None or lines or skip < (0 if compression else -1):
        raise UnsupportedInput(
            "nrrd-encoding",
            "The voxels are stored as text, or behind lines to skip, which is not handled.",
            "Save the file with raw or gzip encoding.",
            path,
        )
    return compression, skip


def _geometry(
    fields: dict[str, Any], size: tuple[int, int, int], path: Path
) -> tuple[Geometry, tuple[Note, ...]]:
    dimensions = int(fields["dimension"])
    directions = fields.get("space directions")
    factors = [MM.get(str(unit).lower()) for unit in fields.get("space units", fields.get("units", ["mm"]))]
    factor = factors[0]
    if factor is None or set(factors) != {factor}:
        raise GeometryInput("unit", "Distances in mm were expected, found another unit.", path=path)
    try:
        if directions is None:
            spacings = fields.get("spacings")
            if spacings is None:
                return Geometry.unknown(size), ()
            dx, dy, dz = (float(v) * factor for v in (*spacings, 1.0 / factor)[:3])
            note = Note("no-orientation", "The file gives spacing but no orientation; axes were assumed.")
            return Geometry(size, (dz, dy, dx)), (note,)
        matrix, known = _to_lps(fields.get("space", ""))
        vectors = np.array([np.asarray(v, dtype=np.float64) for v in directions])
        if vectors.shape != (dimensions, 3):
            raise GeometryInput("orientation", "A direction in space was expected for each axis.", path=path)
        columns = factor * matrix @ vectors.T
        if dimensions == 2:
            normal = np.cross(columns[:, 0], columns[:, 1])
            columns = np.column_stack([columns, normal / (np.linalg.norm(normal) or 1.0)])
        affine = np.eye(4)
        affine[:3, :3] = columns[:, ::-1]
        affine[:3, 3] = factor * matrix @ np.asarray(fields.get("space origin", (0, 0, 0)), dtype=np.float64)
        geometry = Geometry.from_affine(size, affine)
    except GeometryInput as error:
        error.path = path
        raise
    return geometry, () if known else (
        Note("unknown-space", "The file's space is none of the patient's axes; LPS was assumed."),
    )


def _to_lps(space: str) -> tuple[npt.NDArray[np.float64], bool]:
    """(3, 3) matrix from the named space to LPS, and whether the name says where the patient is."""
    words = space.split("-")
    letters = [AXES.get(word[:1].upper()) for word in (words if len(words) > 1 else list(space))]
    if len(letters) != 3 or None in letters or len({axis for axis, _ in filter(None, letters)}) != 3:
        return np.eye(3), False
    matrix = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(filter(None, letters)):
        matrix[axis, column] = sign
    return matrix, True


def _vector(values: npt.NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(v)) for v in values) + ")"


def _damaged(path: Path) -> UnreadableInput:
    return UnreadableInput("not-nrrd", "The NRRD header is incomplete or damaged.", path=path)
