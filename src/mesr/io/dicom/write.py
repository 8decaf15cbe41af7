"""Writing a volume as a derived classic DICOM series: one file a slice, slice by slice, all or nothing."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

from ... import __version__
from ...errors import OutputError
from ...files import atomic_folder, check_target
from ...volume import Note, Slices, Volume
from .carry import as_written
from .derive import derive
from .encoding import Encoding, choose
from .header import quiet
from .identity import IMPLEMENTATION_CLASS_UID, identify
from .read import FrameSlices
from .series import DicomSeries
from .statements import Work, referenced_series

MAX_PIXEL_BYTES = 0xFFFFFFFE
"""The longest pixel data that is not encapsulated (PS3.5 7.1.1)."""


@dataclass(frozen=True)
class WriteReport:
    """What was written.

    Attributes:
        files: their number.
        clipped: voxels of all slices that did not fit the stored range.
        encoding: how values are stored.
        series_instance_uid: of the new series.
        notes: what was noticed on writing, one of a kind.
    """

    files: int
    clipped: int
    encoding: Encoding
    series_instance_uid: str
    notes: tuple[Note, ...]


def write_series(
    volume: Volume,
    folder: Path,
    *,
    force: bool = False,
    keep_private: bool = False,
    on_slice: Callable[[int], None] | None = None,
    now: datetime | None = None,
) -> WriteReport:
    """Write `volume` as a series derived from the one it was read from, `IM0001.dcm` and on, in the order of slices.

    No more than a slice is in memory. The same volume gives the same bytes but for dates and times.

    Args:
        volume: read from DICOM, and usually computed from that (`volume.derivation`).
        folder: made, all or nothing.
        force: replace `folder` where it exists.
        keep_private: take over private elements, which may hold the old geometry and patient data.
        on_slice: called with k after each slice.
        now: the date and time to write; the current one by default.

    Raises:
        OutputError: codes `no-dicom-header`, `output-is-input`, `exists`, `unwritable`, `not-finite`.
        InputError: a source header or slice cannot be read, or is of a kind that cannot be written.
    """
    check_source(volume, folder)
    check_target(folder, force=force)
    work = begin(volume, keep_private=keep_private, now=now)
    series, encoding, identity = work.series, work.encoding, work.identity
    clipped = 0
    notes: dict[str, Note] = {}
    digits = max(4, len(str(len(volume.slices))))
    with atomic_folder(folder, force=force) as temporary:
        for k in range(len(volume.slices)):
            image = volume.slices[k]
            stored = encoding.store(image, encoding.padding(series.instances[k]))
            clipped += stored.clipped
            with quiet():
                dataset, noticed = derive(work, k, stored.clipped, image.residual)
                dataset.PixelData = stored.pixels.tobytes()
                dataset["PixelData"].VR = "OW"
                dataset.file_meta = file_meta()
                path = temporary / f"IM{k + 1:0{digits}d}.dcm"
                dcmwrite(path, as_written(dataset), enforce_file_format=True)
            notes.update({note.code: note for note in noticed if note.code not in notes})
            if on_slice is not None:
                on_slice(k)
    told = (*notes.values(), *clipping(clipped, encoding))
    return WriteReport(len(volume.slices), clipped, encoding, identity.series_instance_uid, told)


def begin(volume: Volume, *, keep_private: bool, now: datetime | None, form: str = "") -> Work:
    """Decide what all headers of a derived series share; the encoded pixels of its source are read once.

    Args:
        volume: that passed `check_source`.
        keep_private: private elements are taken over.
        now: the date and time to write; the current one by default.
        form: told apart in the identifiers; two forms of one result are two objects.

    Raises:
        InputError: a source header or slice cannot be read, or is of a kind that cannot be written.
    """
    series = volume.source
    assert isinstance(series, DicomSeries)
    # These may read all pixels, perhaps in another thread that wants to be quiet too.
    values = functools.cache(lambda: _range(FrameSlices(series.instances)))
    encoding = choose(series.instances, volume.modality, values)
    settings = volume.derivation.settings if volume.derivation else _values(volume)
    identity = identify(series, settings, f"{encoding}{form}")
    moment = (now or datetime.now()).astimezone()
    with quiet():
        return Work(volume, series, encoding, identity, moment, keep_private, referenced_series(series))


def file_meta() -> FileMetaDataset:
    """File meta information (PS3.10 7.1) of what is written here: Explicit VR Little Endian."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"MESR {__version__}"[:16]
    return meta


def clipping(clipped: int, encoding: Encoding) -> tuple[Note, ...]:
    """The note on voxels that did not fit, where there are any."""
    if not clipped:
        return ()
    text = f"{clipped} voxels lie outside the stored range and were clipped to {encoding.range_text}."
    return (Note("clipped", text),)


def check_source(volume: Volume, target: Path) -> None:
    """Refuse what no DICOM can be derived from, and a target that is the source or holds it.

    Raises:
        OutputError: codes `no-dicom-header`, `output-is-input`.
    """
    series = volume.source
    if not isinstance(series, DicomSeries):
        raise OutputError(
            "no-dicom-header",
            "A DICOM series can only be derived from one, and this volume was not read from DICOM.",
            "Write NIfTI, NRRD or MHA, or read the volume from DICOM.",
        )
    if len(series.instances) != len(volume.slices):
        raise OutputError(
            "no-dicom-header",
            f"Expected one source image a slice, found {len(series.instances)} for {len(volume.slices)} slices.",
        )
    place = target.resolve()
    if any(place in (path, *path.parents) for path in {one.path.resolve() for one in series.instances}):
        raise OutputError(
            "output-is-input", "The output is, or holds, the source series.", "Choose another folder.", target
        )


def _range(slices: Slices) -> tuple[float, float]:
    """The smallest and the largest value of all slices, padding left out; each slice is read once more."""
    low, high = math.inf, -math.inf
    for k in range(len(slices)):
        one = slices[k]
        measured = one.values if one.padding is None else one.values[~one.padding]
        if measured.size:
            low, high = min(low, float(measured.min())), max(high, float(measured.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _values(volume: Volume) -> str:
    """The digest of all values, for a volume that does not say what computed it; each slice is read once more."""
    digest = hashlib.sha256(repr(volume.geometry).encode())
    for k in range(len(volume.slices)):
        image = volume.slices[k]
        digest.update(image.values.tobytes())
        digest.update(b"" if image.padding is None else image.padding.tobytes())
    return f"values {digest.hexdigest()}"
