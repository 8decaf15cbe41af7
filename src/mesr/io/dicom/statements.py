"""What a derived object says of itself, whether it is one classic slice or a whole Enhanced volume.

Who it belongs to, how its pixels are stored, when and by what it was made and of which images: the same
statements, which the two kinds of header only put in different places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pydicom import Dataset
from pydicom.charset import default_encoding
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from ... import __version__
from ...volume import Note, Volume
from .carry import character_set, encoded_items, raw_sequence
from .describe import ascii_text, contribution, series_description
from .encoding import BITS, Encoding, ds
from .identity import MANUFACTURER, Identity, uid
from .series import DicomSeries, Instance

_LOSSY = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
}
"""Transfer syntaxes that are never lossless, with the LossyImageCompressionMethod (C.7.6.1.1.5.1) they mean."""


@dataclass(frozen=True)
class Work:
    """What all headers of one derived series share.

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

    @property
    def resampled(self) -> bool:
        """The result lies on another grid than its source."""
        return self.volume.derivation is not None and not self.volume.derivation.grid.is_identity


def name_series(out: Dataset, work: Work) -> None:
    """The study stays (C.7.2.1); the series is new (C.7.3.1)."""
    out.StudyInstanceUID = work.series.study_instance_uid
    out.SeriesInstanceUID = work.identity.series_instance_uid
    out.SeriesNumber = work.identity.series_number
    out.SeriesDescription = series_description(text(out, "SeriesDescription"), work.volume.derivation)


def describe_pixels(out: Dataset, work: Work, instance: Instance, padding: int | None) -> None:
    """Image Pixel (C.7.6.3): little-endian 16 bits; `padding` as stored."""
    signed = work.encoding.signed
    out.Rows, out.Columns = work.volume.geometry.size[1:]
    out.SamplesPerPixel = 1
    out.PhotometricInterpretation = "MONOCHROME1" if instance.monochrome1 else "MONOCHROME2"
    out.BitsAllocated = out.BitsStored = BITS
    out.HighBit = BITS - 1
    out.PixelRepresentation = int(signed)
    if padding is not None:
        out.add_new(Tag("PixelPaddingValue"), "SS" if signed else "US", padding)


def rescale(out: Dataset, work: Work, *, needed: bool, kinds: set[str]) -> None:
    """Slope and intercept in the classic Modality LUT (C.11.1) or a functional group (C.7.6.16.2.9).

    Args:
        out: data set or item that gets them, if the values ask for them.
        work: of the series.
        needed: the source has them there, so the result has them whatever they are.
        kinds: every RescaleType of the source.
    """
    encoding = work.encoding
    if work.volume.modality != "CT" and (encoding.slope, encoding.intercept) == (1, 0) and not needed:
        return
    out.RescaleSlope, out.RescaleIntercept = ds(encoding.slope), ds(encoding.intercept)
    unknown = "HU" if work.volume.unit == "HU" else "US"
    out.RescaleType = next(iter(kinds)) if len(kinds) == 1 else unknown


def admit_loss(out: Dataset, instance: Instance) -> None:
    """Once lossy, always lossy (C.7.6.1.1.5): a flag the source lacks is set where its pixels prove it."""
    method = _LOSSY.get(instance.layout.transfer_syntax)
    if method is None or text(out, "LossyImageCompression") == "01":
        return
    layout = instance.layout
    encoded = sum(span.length for span in layout.spans[instance.frame or 0])
    native = layout.rows * layout.columns * layout.bits_allocated // 8
    out.LossyImageCompression, out.LossyImageCompressionMethod = "01", method
    out.LossyImageCompressionRatio = ds(round(native / max(1, encoded), 2))


def date(out: Dataset, now: datetime) -> None:
    """When content, instance and series were made, in the time zone the source's other times are in."""
    now = now.astimezone(_zone(text(out, "TimezoneOffsetFromUTC")))
    for name in ("InstanceCreation", "Series", "Content"):
        setattr(out, f"{name}Date", now.strftime("%Y%m%d"))
        setattr(out, f"{name}Time", now.strftime("%H%M%S.%f"))


def source_image(work: Work, k: int) -> Dataset:
    """The source of slice `k` as an item of a SourceImageSequence (C.7.6.16.2.6)."""
    item = _reference(work.series.instances[k])
    item.PurposeOfReferenceCodeSequence = [
        code("121322", "DCM", "Source image for image processing operation")
    ]
    item.SpatialLocationsPreserved = "NO" if work.resampled else "YES"
    return item


def refer_to_series(out: Dataset, work: Work) -> None:
    """Common Instance Reference (C.12.2): the whole source series behind what the source refers to."""
    earlier = encoded_items(out.get("ReferencedSeriesSequence") or (), character_set(out))
    out[Tag("ReferencedSeriesSequence")] = raw_sequence(
        "ReferencedSeriesSequence", earlier + work.source_items
    )


def referenced_series(series: DicomSeries) -> bytes:
    """All instances of `series` as one encoded item of a ReferencedSeriesSequence (C.12.2)."""
    item = Dataset()
    item.SeriesInstanceUID = series.series_instance_uid
    item.ReferencedInstanceSequence = instance_references(series)
    return encoded_items([item], [default_encoding])


def instance_references(series: DicomSeries) -> list[Dataset]:
    """SOP Instance References (table 10-11) to the files of `series`."""
    files = {i.sop_instance_uid: i for i in series.instances}
    return [_reference(i, frames=False) for i in files.values()]


def credit(out: Dataset, work: Work) -> None:
    """This software behind the scanner and whatever else contributed (C.12.1.1.5); the scanner's own fields stay."""
    derivation = work.volume.derivation
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code("109102", "DCM", "Processing Equipment")]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = "mesr" if derivation is None else ascii_text(derivation.model, 64)
    item.SoftwareVersions = [f"mesr {__version__}"]
    if derivation is not None:
        # The hash fills its 64 characters, so it must not be last, where an even length may ask for a blank.
        item.SoftwareVersions = [derivation.weights_sha256, f"mesr {__version__}"]
        item.DeviceUID = uid("model", derivation.weights_id)
    item.ContributionDateTime = work.now.strftime("%Y%m%d%H%M%S.%f%z")
    item.ContributionDescription = contribution(derivation)
    out.ContributingEquipmentSequence = [*(out.get("ContributingEquipmentSequence") or ()), item]


def notes(out: Dataset, *, drawn: bool, damaged: Sequence[str]) -> tuple[Note, ...]:
    """What of the source is not in `out`, and what of it should not be overlooked there."""
    told = []
    if drawn:
        sentence = (
            "Overlays, curves, icons and annotations are left out; they were drawn on the source's pixels."
        )
        told.append(Note("overlays-dropped", sentence))
    if damaged:
        names = ", ".join(damaged[:4]) + ("…" if len(damaged) > 4 else "")
        told.append(
            Note("damaged-elements", f"Elements of the header that cannot be read are left out: {names}.")
        )
    if "YES" in (text(out, "BurnedInAnnotation"), text(out, "RecognizableVisualFeatures")):
        sentence = (
            "The source says that its pixels show text or a recognisable face; so do those of the result."
        )
        told.append(Note("identifying-pixels", sentence))
    return tuple(told)


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A coded entry (PS3.3 table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def text(dataset: Dataset, keyword: str) -> str:
    """The value as text, several values parted as in the file; empty where absent."""
    value = dataset.get(keyword)
    values = value if isinstance(value, MultiValue) else [value]
    return "\\".join("" if v is None else str(v) for v in values)


def _reference(instance: Instance, *, frames: bool = True) -> Dataset:
    """SOP Instance Reference (table 10-11), with the frame of a multi-frame object where `frames`."""
    item = Dataset()
    item.ReferencedSOPClassUID = instance.sop_class_uid
    item.ReferencedSOPInstanceUID = instance.sop_instance_uid
    if frames and instance.frame is not None:
        item.ReferencedFrameNumber = instance.frame + 1
    return item


def _zone(offset: str) -> timezone | None:
    """The zone of a TimezoneOffsetFromUTC (`±HHMM`); None, the machine's own, where there is none."""
    if len(offset) != 5 or offset[0] not in "+-" or not offset[1:].isdigit():
        return None
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return (
        timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)) if minutes < 24 * 60 else None
    )
