"""The header of a derived classic image: what the new pixels change, and what made them (PS3.3; `dicom.md` §1).

Everything else is the source's, by `carry`. The class stays CT or MR Image Storage: Secondary Capture would
lose the meaning of the values.
"""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.tag import Tag

from ...errors import UnsupportedInput
from ...files import plain_text
from ...volume import Note, Volume
from .carry import carry
from .describe import derivation_description
from .encoding import ds
from .flatten import CLASSIC, MULTI_FRAME, flatten
from .statements import (
    Work,
    admit_loss,
    code,
    credit,
    date,
    describe_pixels,
    name_series,
    notes,
    refer_to_series,
    rescale,
    source_image,
    text,
)

CT_IMAGE, MR_IMAGE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def derive(work: Work, k: int, clipped: int, residual: float | None) -> tuple[Dataset, tuple[Note, ...]]:
    """The data set of slice `k` without its pixels, and what was noticed.

    Args:
        work: of the series.
        k: slice.
        clipped: voxels of this slice that did not fit the stored range.
        residual: largest |shrunk result − input| of this slice in the volume's unit, where computed.

    Raises:
        UnsupportedInput: code `sop-class`; the source is neither CT nor MR.
        UnreadableInput: the source's header cannot be read or lacks what must be kept.
    """
    series, instance = work.series, work.series.instances[k]
    header = series.header(k)
    leave = MULTI_FRAME if series.enhanced else frozenset()
    carried = carry(header, keep_private=work.keep_private, leave=leave)
    out = carried.dataset
    if series.enhanced:
        flatten(out, series, k, work.volume.modality)
    if "VOILUTSequence" in out and work.encoding.signed != instance.signed:
        # Its descriptor counts in the old representation; window centre and width stay.
        del out.VOILUTSequence
    describe_pixels(out, work, instance, work.encoding.padding(instance))
    rescale(out, work, needed="RescaleSlope" in out, kinds={text(out, "RescaleType")} - {""})
    admit_loss(out, instance)
    _place(out, work.volume, k)
    _identify(out, work, k)
    date(out, work.now)
    _tell_derivation(out, work, k, clipped, residual)
    credit(out, work)
    told = notes(out, drawn=carried.drawn, damaged=carried.damaged)
    return out, (*_flattened(work), *told)


def _identify(out: Dataset, work: Work, k: int) -> None:
    source = work.series.instances[k].sop_class_uid
    sop_class = CLASSIC.get(source, source)
    if sop_class not in (CT_IMAGE, MR_IMAGE):
        raise UnsupportedInput(
            "sop-class", "Expected CT or MR images to derive from, found another kind of object."
        )
    out.SOPClassUID = sop_class
    out.SOPInstanceUID = work.identity.sop_instance_uid(k)
    out.InstanceNumber = k + 1
    out.Modality = "CT" if sop_class == CT_IMAGE else "MR"
    out.ImageType = _image_type(out, work)
    name_series(out, work)


def _image_type(out: Dataset, work: Work) -> list[str]:
    """Value 3 of the source; for CT it must be AXIAL or LOCALIZER (C.8.2.1.1.1), and Enhanced objects say otherwise."""
    values = text(out, "ImageType").split("\\")
    kept = plain_text(values[2], 16) if len(values) > 2 else ""
    if work.series.enhanced or not kept:
        kept = ("LOCALIZER" if kept == "LOCALIZER" else "AXIAL") if out.Modality == "CT" else "OTHER"
    return ["DERIVED", "SECONDARY", kept] + (["RESAMPLED"] if work.volume.derivation else [])


def _place(out: Dataset, volume: Volume, k: int) -> None:
    """Image Plane (C.7.6.2). Between slices nothing changes, so thickness and spacing stay the source's."""
    geometry = volume.geometry
    if geometry.known:
        _, dy, dx = geometry.spacing
        out.PixelSpacing = [ds(dy), ds(dx)]
    else:
        out.pop(Tag("PixelSpacing"), None)
    if not geometry.known or any(note.code == "no-position" for note in volume.notes):
        # Nowhere in the patient before, nowhere now.
        out.pop(Tag("ImagePositionPatient"), None)
        return
    position = geometry.position(k, 0, 0)
    out.ImagePositionPatient = [ds(float(x)) for x in position]
    wanted = np.array([geometry.column_direction, geometry.row_direction]).ravel()
    held = out.get("ImageOrientationPatient") or ()
    if len(held) != 6 or np.abs(np.array(held, dtype=float) - wanted).max() > 1e-6:
        out.ImageOrientationPatient = [ds(float(x)) for x in wanted]
    if "SliceLocation" in out:
        out.SliceLocation = ds(float(geometry.normal @ position))


def _tell_derivation(out: Dataset, work: Work, k: int, clipped: int, residual: float | None) -> None:
    """General Image (C.7.6.1) and Common Instance Reference (C.12.2): what was done, and to which images."""
    derivation = work.volume.derivation
    out.DerivationDescription = derivation_description(
        derivation,
        work.volume.geometry,
        unit=work.volume.unit,
        clipped=clipped,
        residual=residual,
        thickness=text(out, "SliceThickness"),
        earlier=text(out, "DerivationDescription"),
    )
    if derivation is not None:
        codes = list(out.get("DerivationCodeSequence") or ())
        out.DerivationCodeSequence = [*codes, code("113085", "DCM", "Spatial resampling")]
    out.SourceImageSequence = [source_image(work, k)]
    refer_to_series(out, work)


def _flattened(work: Work) -> tuple[Note, ...]:
    if not work.series.enhanced:
        return ()
    sentence = "The source is an Enhanced multi-frame object; the result is written as single-frame images."
    return (Note("enhanced-flattened", sentence),)
