"""Writing a volume as one derived Enhanced CT or MR object: its header first, then frame after frame, all or nothing.

The length of the pixels is known before the first of them is computed. What only the last frame settles, the
count of clipped voxels and the largest residual, stands in a text of fixed length that is written again at the end.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import datetime
from io import BytesIO
from pathlib import Path

from pydicom import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.tag import Tag

from ...errors import TooLarge
from ...files import atomic_path, check_file
from ...volume import Note, Volume
from .carry import as_written, carry, character_set, raw_sequence, tags
from .describe import LONGEST, derivation_description
from .encoding import BITS
from .functional_groups import derived_type, functional_groups
from .header import quiet, read_header
from .identity import uid
from .series import DicomSeries
from .statements import (
    Work,
    admit_loss,
    credit,
    date,
    describe_pixels,
    instance_references,
    name_series,
    notes,
    refer_to_series,
    text,
)
from .write import MAX_PIXEL_BYTES, WriteReport, begin, check_source, clipping, file_meta

ENHANCED_CT, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1"

_ANEW = tags(
    "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence DimensionOrganizationSequence "
    "DimensionIndexSequence DimensionOrganizationType ConcatenationUID InConcatenationNumber "
    "InConcatenationTotalNumber ConcatenationFrameOffsetNumber SOPInstanceUIDOfConcatenationSource "
    # Of classic images, but met at the top of Enhanced ones too, where the groups' would contradict them.
    "PixelSpacing ImagePositionPatient ImageOrientationPatient SliceLocation RescaleSlope RescaleIntercept "
    "RescaleType VOILUTSequence"
)
"""What is not taken over from the top level: told anew, or belonging to one part of a concatenation."""


def is_whole(volume: Volume) -> bool:
    """Whether `volume` becomes one Enhanced object: its source is one, or several, and the pixels have room in it.

    A Legacy Converted Enhanced object is a wrapped classic series that must name what it was converted from; what
    is derived from it cannot, and is written as the classic series it stands for.
    """
    series = volume.source
    return (
        isinstance(series, DicomSeries)
        and series.enhanced
        and all(one.sop_class_uid in (ENHANCED_CT, ENHANCED_MR) for one in series.instances)
        and _pixel_bytes(volume) <= MAX_PIXEL_BYTES
    )


def write_enhanced(
    volume: Volume,
    file: Path,
    *,
    force: bool = False,
    keep_private: bool = False,
    on_slice: Callable[[int], None] | None = None,
    now: datetime | None = None,
) -> WriteReport:
    """Write `volume` as one Enhanced object of its source's class, frame k for slice k.

    No more than a frame is in memory beside the header. The same volume gives the same bytes but for dates and times.

    Args:
        volume: for which `is_whole`, usually computed (`volume.derivation`).
        file: made, all or nothing.
        force: replace `file` where it exists.
        keep_private: take over private elements, which may hold the old geometry and patient data.
        on_slice: called with k after each frame.
        now: the date and time to write; the current one by default.

    Raises:
        OutputError: codes `no-dicom-header`, `output-is-input`, `exists`, `unwritable`, `not-finite`.
        TooLarge: code `header-too-large`; so many frames that this package would not read its own result.
        InputError: a source header or frame cannot be read.
    """
    assert is_whole(volume)
    check_source(volume, file)
    check_file(file, force=force)
    work = begin(volume, keep_private=keep_private, now=now, form=", one Enhanced object")
    encoding, instances = work.encoding, work.series.instances
    padding = next((encoding.padding(one) for one in instances if one.padding is not None), None)
    with quiet():
        dataset, noticed = _header(work, padding)
    clipped, residual = 0, None
    with atomic_path(file, force=force) as temporary, temporary.open("wb") as target:
        target.write(_encoded(dataset, work, clipped, residual))
        target.flush()
        _check_header(temporary, len(volume.slices))
        for k in range(len(volume.slices)):
            image = volume.slices[k]
            stored = encoding.store(image, None if instances[k].padding is None else padding)
            target.write(stored.pixels.data)
            clipped += stored.clipped
            if image.residual is not None:
                residual = max(residual or 0.0, image.residual)
            if on_slice is not None:
                on_slice(k)
        target.seek(0)
        target.write(_encoded(dataset, work, clipped, residual))
    told = (*noticed, *clipping(clipped, encoding))
    return WriteReport(1, clipped, encoding, work.identity.series_instance_uid, told)


def _pixel_bytes(volume: Volume) -> int:
    return math.prod(volume.geometry.size) * BITS // 8


def _header(work: Work, padding: int | None) -> tuple[Dataset, tuple[Note, ...]]:
    """The data set up to the pixels, and what was noticed; the text on its derivation is still missing."""
    series, first = work.series, work.series.instances[0]
    carried = carry(series.header(0), keep_private=work.keep_private, leave=_ANEW)
    out = carried.dataset
    groups = functional_groups(work, character_set(out))
    out.SharedFunctionalGroupsSequence = [groups.shared]
    out[Tag("PerFrameFunctionalGroupsSequence")] = raw_sequence(
        "PerFrameFunctionalGroupsSequence", groups.frames
    )
    describe_pixels(out, work, first, padding)
    out.NumberOfFrames = len(series.instances)
    for instance in {one.path: one for one in series.instances}.values():
        admit_loss(out, instance)
    out.SOPClassUID = first.sop_class_uid
    out.SOPInstanceUID = work.identity.sop_instance_uid(0)
    out.InstanceNumber = 1
    out.Modality = "CT" if first.sop_class_uid == ENHANCED_CT else "MR"
    name_series(out, work)
    _describe(out, work, groups.kinds, groups.described)
    _index(out, work)
    date(out, work.now)
    refer_to_series(out, work)
    _give_evidence(out, work)
    credit(out, work)
    damaged = tuple(dict.fromkeys((*carried.damaged, *groups.damaged)))
    return out, notes(out, drawn=carried.drawn, damaged=damaged)


def _describe(out: Dataset, work: Work, kinds: frozenset[str], described: dict[str, frozenset[str]]) -> None:
    """The common description of the frames (C.8.16.1, .2): what they all are, or MIXED."""
    values = derived_type(text(out, "ImageType").split("\\"), work)
    if kinds:
        values[2] = next(iter(kinds)) if len(kinds) == 1 else "MIXED"
    out.ImageType = values
    out.PixelPresentation = "MONOCHROME"
    for keyword, found in described.items():
        setattr(out, keyword, next(iter(found)) if len(found) == 1 else "MIXED")
    out.ContentQualification = "RESEARCH"


def _index(out: Dataset, work: Work) -> None:
    """Multi-frame Dimension (C.7.6.17): one stack, and the place in it."""
    organization = uid(work.identity.series_instance_uid, "dimensions")
    item = Dataset()
    item.DimensionOrganizationUID = organization
    out.DimensionOrganizationSequence = [item]
    out.DimensionOrganizationType = "3D"
    indices = []
    for keyword in ("StackID", "InStackPositionNumber"):
        index = Dataset()
        index.DimensionOrganizationUID = organization
        index.DimensionIndexPointer = Tag(keyword)
        index.FunctionalGroupPointer = Tag("FrameContentSequence")
        index.DimensionDescriptionLabel = keyword
        indices.append(index)
    out.DimensionIndexSequence = indices


def _give_evidence(out: Dataset, work: Work) -> None:
    """The files that the frames' source images are in, by study and series (C.8.15.1, table C.17-3)."""
    series = Dataset()
    series.SeriesInstanceUID = work.series.series_instance_uid
    series.ReferencedSOPSequence = instance_references(work.series)
    study = Dataset()
    study.StudyInstanceUID = work.series.study_instance_uid
    study.ReferencedSeriesSequence = [series]
    out.SourceImageEvidenceSequence = [*(out.get("SourceImageEvidenceSequence") or ()), study]


def _encoded(dataset: Dataset, work: Work, clipped: int, residual: float | None) -> bytes:
    """The file up to its first pixel; of one length, whatever `clipped` and `residual` are."""
    with quiet():
        measures = work.series.frame_group(0, "PixelMeasuresSequence")
        said = derivation_description(
            work.volume.derivation,
            work.volume.geometry,
            unit=work.volume.unit,
            clipped=clipped,
            residual=residual,
            thickness="" if measures is None else text(measures, "SliceThickness"),
            earlier=text(work.series.header(0), "DerivationDescription"),
        )
        # Blanks at the end of a short text mean nothing (PS3.5 6.2).
        dataset.DerivationDescription = said.ljust(LONGEST)
        dataset.file_meta = file_meta()
        buffer = BytesIO()
        dcmwrite(buffer, as_written(dataset), enforce_file_format=True)
    return buffer.getvalue() + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, _pixel_bytes(work.volume))


def _check_header(path: Path, frames: int) -> None:
    """Before anything is computed: the header is not too large for our own reader."""
    try:
        read_header(path)
    except TooLarge as error:
        raise TooLarge(
            error.code,
            f"The header of one object of {frames} frames would be larger than is read here.",
            "Write single-frame images: --format dicom-classic.",
        ) from None
