"""Every limit in one place: what an untrusted file may ask of this machine."""

from __future__ import annotations

MAX_SIDE = 32_768
"""Pixels along one side of a slice, in or out."""

MAX_SLICE_PIXELS = 1 << 26
"""Pixels in one slice (8,192 squared)."""

MAX_VOLUME_VOXELS = 1 << 34
"""Voxels in one volume, which is read and written slice by slice."""

MAX_EAGER_BYTES = 1 << 33
"""Bytes a format that cannot be read lazily may unpack to."""

MAX_SLICES = 100_000
"""Slices or frames in one series."""

MAX_FILES = 1_000_000
"""Files looked at in one call."""

MAX_SEQUENCE_DEPTH = 32
"""Nesting of DICOM sequences."""

MAX_HEADER_BYTES = 64 << 20
"""Bytes of a header without its pixel data."""

MAX_HEADER_READS = 600_000
"""Read calls a DICOM header may take, two or three an element: under ten seconds of parsing at worst, and room
for an Enhanced object of a thousand frames that each say very much."""

MAX_INFLATED_BYTES = MAX_HEADER_BYTES + 4 * MAX_SLICE_PIXELS
"""Bytes a deflated DICOM data set may inflate to, pixels included."""

MAX_ZIP_ENTRIES = 200_000
MAX_ZIP_RATIO = 1_000
MAX_ZIP_BYTES = 1 << 35
"""Entries in a zip, their compression ratio one by one, and their total size unpacked."""

DECODE_SECONDS = 60.0
DECODE_BYTES = 4 << 30
"""Time for one frame in the decoding worker, and the worker's address space over its start."""

MIN_SPACING_MM = 1e-3
MAX_SPACING_MM = 100.0
"""Plausible pixel spacing and slice distance."""

MAX_SCALE = 32.0
"""Magnification along one axis."""

MAX_LIST_BYTES = 64 << 20
"""Bytes of a list of inputs."""

STUDY_ATTEMPTS = 3
"""Workers of a cluster that a study may cost in one call."""

MAX_ANSWER_BYTES = 64 << 20
MAX_SERIES = 1_000_000
MAX_FETCHED_BYTES = 1 << 35
HTTP_SECONDS = 60.0
HTTP_ATTEMPTS = 3
"""Of a DICOMweb server: one answer to a query, series of all its answers, one series fetched; and how long it may say
nothing, and how often it is asked before it is given up."""

MAX_TEXT = 64
"""Characters of a header's free text that are ever shown or logged."""
