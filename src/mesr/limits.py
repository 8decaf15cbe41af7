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
SMALL_ZIP_ENTRY = 1 << 20
"""Entries in a zip, their compression ratio one by one, and their total size unpacked; and bytes up to which an entry
may have any ratio: an empty slice shrinks a thousandfold."""

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
MAX_PART_HEADER_BYTES = 1 << 16
MAX_SERIES = 1_000_000
MAX_FETCHED_BYTES = 1 << 35
HTTP_SECONDS = 60.0
HTTP_ATTEMPTS = 3
"""Of a DICOMweb server: one answer to a query, the header of one part of an answer, series of all its answers, one
series fetched; and how long it may say nothing, and how often it is asked before it is given up."""

MAX_TEXT = 64
"""Characters of a header's free text that are ever shown or logged."""

MAX_UPLOAD_BYTES = 4 << 30
MAX_UPLOAD_FILES = 20_000
"""Bytes and files of one study that is sent to the page."""

MAX_REQUEST_BYTES = 1 << 16
"""Bytes of any other request to the page."""

MAX_REQUESTS = 64
"""Requests that the page answers at a time; a browser has six."""

MAX_STUDIES = 8
"""Studies the page holds; the one unused the longest goes for another."""

STUDY_SECONDS = 4 * 3600.0
"""How long the page holds a study that nobody asks about."""

MAX_RESULTS = 4
"""Results of one study that the page holds; the oldest goes for another."""

MAX_PAGE_VOXELS = 1 << 31
"""Voxels in a result that the page computes."""

MAX_PAGE_PIXELS = 1 << 24
"""Pixels of one slice, or of a part of one, that are sent to the page (4,096 squared)."""

MAX_SHOWN_VOXELS = 1 << 27
"""Voxels of a volume that is shown as one in a browser, whose graphics memory holds it."""

MAX_FEATURE_BYTES = 1 << 30
MAX_PREPARED_FEATURES = 64 << 19
"""Features of slices that are kept for the page; and how many features a slice may have (724² pixels of 64) whose
decoding is made quicker by keeping five times as much."""

NODE_ASSOCIATIONS = 8
NODE_CONNECTIONS = 32
"""Associations the DICOM node holds by default, and the connections beyond them that it answers with a rejection
rather than not at all."""

NODE_IDLE_SECONDS = 30.0
NODE_REQUEST_SECONDS = 5.0
"""How long a peer of the node may be silent by default, or take for one PDU; and how long it may take to ask for
an association, its TLS handshake included."""

NODE_OBJECT_MIB = 512
NODE_PDU_BYTES = 1 << 20
"""MiB of one object sent to the node, by default, and bytes of one PDU (PS3.8 9.3)."""

NODE_STOW_BYTES = 32 << 20
NODE_STOW_ANSWER_BYTES = 4 << 20
"""Bytes of files in one STOW-RS request of the node, unless one file alone has more, and of its answer."""

NODE_HEALTH_SECONDS = 5.0
NODE_HEALTH_REQUESTS = 8
"""How long who asks for the node's health may say nothing, and how many are answered at a time."""

NODE_CONFIG_BYTES = 1 << 20
"""Bytes of `node.yaml`."""
