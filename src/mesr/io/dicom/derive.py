"""The header of a derived image: what the new pixels change, and what made them (PS3.3; `dicom.md` §1).

Everything else is the source's, by `carry`. The class stays CT or MR Image Storage: Secondary Capture would
lose the meaning of the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
from pydicom import Dataset
from pydicom.charset import default_encoding
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from ... import __version__
from ...errors import UnsupportedInput
from ...files import plain_text
from ...volume import Note, Volume
from .carry import Carried, carry, character_set, encoded_items, raw_sequence
from .describe import ascii_text, contribution, derivation_description, series_description
from .encoding import BITS, Encoding, ds
from .flatten import CLASSIC, MULTI_FRAME, flatten
from .identity import Identity, uid
from .series import DicomSeries, Instance

CT_IMAGE, MR_IMAGE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
_LOSSY = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
}
"""Transfer syntaxes that are never lossless, with the LossyImageCompressionMethod (C.7.6.1.1.5.1) they mean."""


@dataclass(frozen=True)
class Work:
    """What the headers of all slices of one derived series share.

    Attributes:
        volume: whose geometry and derivation are written.
        series: its source.
        encoding: of the stored numbers.
        identity: the new identifiers.
        now: aware date and time of writing.
        keep_private: private elements are taken over.
        source_items: the whole source as one item of a ReferencedSeriesSequence (`referenced_series`).
    """

    volume: Volume
    series: DicomSeries
    encoding: Encoding
    identity: Identity
    now: datetime
    keep_private: bool
    source_items: bytes


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
    _describe_pixels(out, work, instance)
    _admit_loss(out, instance)
    _place(out, work.volume, k)
    _identify(out, work, k)
    _date(out, work.now)
    _tell_derivation(out, work, k, clipped, residual)
    _credit(out, work)
    return out, _notes(carried, out, series)


def _identify(out: Dataset, work: Work, k: int) -> None:
    source = work.series.instances[k].sop_class_uid
    sop_class = CLASSIC.get(source, source)
    if sop_class not in (CT_IMAGE, MR_IMAGE):
        raise UnsupportedInput(
            "sop-class", "Expected CT or MR images to derive from, found another kind of object."
        )
    out.SOPClassUID = sop_class
    out.SOPInstanceUID = work.identity.sop_instance_uid(k)
    out.StudyInstanceUID = work.series.study_instance_uid
    out.SeriesInstanceUID = work.identity.series_instance_uid
    out.SeriesNumber = work.identity.series_number
    out.InstanceNumber = k + 1
    out.Modality = "CT" if sop_class == CT_IMAGE else "MR"
    out.ImageType = _image_type(out, work)
    out.SeriesDescription = series_description(_text(out, "SeriesDescription"), work.volume.derivation)


def _image_type(out: Dataset, work: Work) -> list[str]:
    """Value 3 of the source; for CT it must be AXIAL or LOCALIZER (C.8.2.1.1.1), and Enhanced objects say otherwise."""
    values = _text(out, "ImageType").split("\\")
    kept = plain_text(values[2], 16) if len(values) > 2 else ""
    if work.series.enhanced or not kept:
        kept = ("LOCALIZER" if kept == "LOCALIZER" else "AXIAL") if out.Modality == "CT" else "OTHER"
    return ["DERIVED", "SECONDARY", kept] + (["RESAMPLED"] if work.volume.derivation else [])


def _describe_pixels(out: Dataset, work: Work, instance: Instance) -> None:
    """Image Pixel (C.7.6.3) and Modality LUT (C.11.1): little-endian 16 bits, one slope and intercept a series."""
    encoding = work.encoding
    if "VOILUTSequence" in out and encoding.signed != instance.signed:
        # Its descriptor counts in the old representation; window centre and width stay.
        del out.VOILUTSequence
    out.Rows, out.Columns = work.volume.geometry.size[1:]
    out.SamplesPerPixel = 1
    out.PhotometricInterpretation = "MONOCHROME1" if instance.monochrome1 else "MONOCHROME2"
    out.BitsAllocated = out.BitsStored = BITS
    out.HighBit = BITS - 1
    out.PixelRepresentation = int(encoding.signed)
    padding = encoding.padding(instance)
    if padding is not None:
        out.add_new(Tag("PixelPaddingValue"), "SS" if encoding.signed else "US", padding)
    if (
        work.volume.modality == "CT"
        or (encoding.slope, encoding.intercept) != (1, 0)
        or "RescaleSlope" in out
    ):
        out.RescaleSlope, out.RescaleIntercept = ds(encoding.slope), ds(encoding.intercept)
        if not _text(out, "RescaleType"):
            out.RescaleType = "HU" if work.volume.unit == "HU" else "US"


def _admit_loss(out: Dataset, instance: Instance) -> None:
    """Once lossy, always lossy (C.7.6.1.1.5): a flag the source lacks is set where its pixels prove it."""
    method = _LOSSY.get(instance.layout.transfer_syntax)
    if method is None or _text(out, "LossyImageCompression") == "01":
        return
    layout = instance.layout
    encoded = sum(span.length for span in layout.spans[instance.frame or 0])
    native = layout.rows * layout.columns * layout.bits_allocated // 8
    out.LossyImageCompression, out.LossyImageCompressionMethod = "01", method
    out.LossyImageCompressionRatio = ds(round(native / max(1, encoded), 2))


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


def _date(out: Dataset, now: datetime) -> None:
    """When content, instance and series were made, in the time zone the source's other times are in."""
    now = now.astimezone(_zone(_text(out, "TimezoneOffsetFromUTC")))
    for name in ("InstanceCreation", "Series", "Content"):
        setattr(out, f"{name}Date", now.strftime("%Y%m%d"))
        setattr(out, f"{name}Time", now.strftime("%H%M%S.%f"))


def _zone(offset: str) -> timezone | None:
    """The zone of a TimezoneOffsetFromUTC (`±HHMM`); None, the machine's own, where there is none."""
    if len(offset) != 5 or offset[0] not in "+-" or not offset[1:].isdigit():
        return None
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return (
        timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)) if minutes < 24 * 60 else None
    )


def _tell_derivation(out: Dataset, work: Work, k: int, clipped: int, residual: float | None) -> None:
    """General Image (C.7.6.1) and Common Instance Reference (C.12.2): what was done, and to which images."""
    derivation = work.volume.derivation
    out.DerivationDescription = derivation_description(
        derivation,
        work.volume.geometry,
        unit=work.volume.unit,
        clipped=clipped,
        residual=residual,
        thickness=_text(out, "SliceThickness"),
        earlier=_text(out, "DerivationDescription"),
    )
    if derivation is not None:
        codes = list(out.get("DerivationCodeSequence") or ())
        out.DerivationCodeSequence = [*codes, _code("113085", "DCM", "Spatial resampling")]
    source = _reference(work.series.instances[k])
    source.PurposeOfReferenceCodeSequence = [
        _code("121322", "DCM", "Source image for image processing operation")
    ]
    same_grid = derivation is None or derivation.grid.is_identity
    source.SpatialLocationsPreserved = "YES" if same_grid else "NO"
    out.SourceImageSequence = [source]
    earlier = encoded_items(out.get("ReferencedSeriesSequence") or (), character_set(out))
    out[Tag("ReferencedSeriesSequence")] = raw_sequence(
        "ReferencedSeriesSequence", earlier + work.source_items
    )


def referenced_series(series: DicomSeries) -> bytes:
    """All instances of `series` as one encoded item of a ReferencedSeriesSequence (C.12.2)."""
    item = Dataset()
    item.SeriesInstanceUID = series.series_instance_uid
    files = {i.sop_instance_uid: i for i in series.instances}
    item.ReferencedInstanceSequence = [_reference(i, frames=False) for i in files.values()]
    return encoded_items([item], [default_encoding])


def _reference(instance: Instance, *, frames: bool = True) -> Dataset:
    """SOP Instance Reference (table 10-11), with the frame of a multi-frame object where `frames`."""
    item = Dataset()
    item.ReferencedSOPClassUID = instance.sop_class_uid
    item.ReferencedSOPInstanceUID = instance.sop_instance_uid
    if frames and instance.frame is not None:
        item.ReferencedFrameNumber = instance.frame + 1
    return item


def _credit(out: Dataset, work: Work) -> None:
    """This software behind the scanner and whatever else contributed (C.12.1.1.5); the scanner's own fields stay."""
    derivation = work.volume.derivation
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_code("109102", "DCM", "Processing Equipment")]
    item.Manufacturer = "mesr"
    item.ManufacturerModelName = "mesr" if derivation is None else ascii_text(derivation.model, 64)
    item.SoftwareVersions = [f"mesr {__version__}"]
    if derivation is not None:
        # The hash fills its 64 characters, so it must not be last, where an even length may ask for a blank.
        item.SoftwareVersions = [derivation.weights_sha256, f"mesr {__version__}"]
        item.DeviceUID = uid("model", derivation.weights_id)
    item.ContributionDateTime = work.now.strftime("%Y%m%d%H%M%S.%f%z")
    item.ContributionDescription = contribution(derivation)
    out.ContributingEquipmentSequence = [*(out.get("ContributingEquipmentSequence") or ()), item]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    """A coded entry (PS3.3 table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _text(dataset: Dataset, keyword: str) -> str:
    """The value as text, several values parted as in the file; empty where absent."""
    value = dataset.get(keyword)
    values = value if isinstance(value, MultiValue) else [value]
    return "\\".join("" if v is None else str(v) for v in values)


def _notes(carried: Carried, out: Dataset, series: DicomSeries) -> tuple[Note, ...]:
    notes = []
    if series.enhanced:
        text = "The source is an Enhanced multi-frame object; the result is written as single-frame images."
        notes.append(Note("enhanced-flattened", text))
    if carried.drawn:
        text = "Overlays, curves, icons and annotations are left out; they were drawn on the source's pixels."
        notes.append(Note("overlays-dropped", text))
    if carried.damaged:
        names = ", ".join(carried.damaged[:4]) + ("…" if len(carried.damaged) > 4 else "")
        notes.append(
            Note("damaged-elements", f"Elements of the header that cannot be read are left out: {names}.")
        )
    if "YES" in (_text(out, "BurnedInAnnotation"), _text(out, "RecognizableVisualFeatures")):
        text = "The source says that its pixels show text or a recognisable face; so do those of the result."
        notes.append(Note("identifying-pixels", text))
    return tuple(notes)
