"""One frame of an Enhanced CT or MR object as the header of a classic single-frame image.

The functional groups (PS3.3 C.7.6.16) hold by frame what a classic header holds at its top; a table says
which attribute comes from where. What has no place in the table is left behind, and nothing is guessed.
"""

from __future__ import annotations

from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import Tag

from .carry import carry, tags
from .encoding import ds
from .series import DicomSeries

CLASSIC = {
    "1.2.840.10008.5.1.4.1.1.2.1": "1.2.840.10008.5.1.4.1.1.2",  # Enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2": "1.2.840.10008.5.1.4.1.1.2",  # Legacy Converted Enhanced CT
    "1.2.840.10008.5.1.4.1.1.4.1": "1.2.840.10008.5.1.4.1.1.4",  # Enhanced MR
    "1.2.840.10008.5.1.4.1.1.4.4": "1.2.840.10008.5.1.4.1.1.4",  # Legacy Converted Enhanced MR
}
"""SOP classes of multi-frame sources, and of what is written for them."""

MULTI_FRAME = tags(
    "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence DimensionOrganizationSequence "
    "DimensionIndexSequence DimensionOrganizationType ConcatenationUID InConcatenationNumber "
    "InConcatenationTotalNumber ConcatenationFrameOffsetNumber SOPInstanceUIDOfConcatenationSource "
    "PixelPresentation VolumetricProperties VolumeBasedCalculationTechnique ComplexImageComponent "
    "AcquisitionContrast ContentQualification ConversionSourceAttributesSequence ReferencedRawDataSequence"
)
"""Top-level attributes that only a multi-frame object has."""

_GROUPS = {
    "PixelMeasuresSequence": "SliceThickness SpacingBetweenSlices",
    "PlaneOrientationSequence": "ImageOrientationPatient",
    "FrameVOILUTSequence": "WindowCenter WindowWidth WindowCenterWidthExplanation VOILUTFunction",
    "PixelValueTransformationSequence": "RescaleType",
    "FrameContentSequence": "AcquisitionNumber=FrameAcquisitionNumber ImageComments=FrameComments "
    "AcquisitionDateTime=FrameAcquisitionDateTime",
    "CTAcquisitionDetailsSequence": "RotationDirection GantryDetectorTilt TableHeight DataCollectionDiameter",
    "CTTableDynamicsSequence": "TableSpeed TableFeedPerRotation SpiralPitchFactor",
    "CTGeometrySequence": "DistanceSourceToDetector",
    "CTReconstructionSequence": "ReconstructionDiameter ConvolutionKernel",
    "CTExposureSequence": "CTDIvol ExposureTime=ExposureTimeInms XRayTubeCurrent=XRayTubeCurrentInmA "
    "Exposure=ExposureInmAs",
    "CTXRayDetailsSequence": "KVP FocalSpots FilterType FilterMaterial",
    "MRTimingAndRelatedParametersSequence": "RepetitionTime FlipAngle EchoTrainLength",
    "MREchoSequence": "EchoTime=EffectiveEchoTime",
    "MRModifierSequence": "InversionTime=InversionTimes",
    "MRImagingModifierSequence": "ImagingFrequency=TransmitterFrequency PixelBandwidth",
    "MRFOVGeometrySequence": "InPlanePhaseEncodingDirection PercentSampling PercentPhaseFieldOfView",
    "FrameAnatomySequence": "Laterality=FrameLaterality",
    "MRAveragesSequence": "NumberOfAverages",
    "MRReceiveCoilSequence": "ReceiveCoilName",
    "MRTransmitCoilSequence": "TransmitCoilName",
}
"""Classic attributes by functional group, `classic=theirs` where the keywords differ."""

_CONVERTED = ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")
"""Groups of legacy converted objects (C.7.6.16.2.25, .26), which hold classic attributes unchanged."""

_TYPE_2 = {
    "CT": ("Laterality", "KVP", "AcquisitionNumber"),
    "MR": ("Laterality", "ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength", "RepetitionTime"),
}
"""What the classic modules (C.7.3.1, C.8.2.1, C.8.3.1) ask for, if only to be empty."""


def flatten(out: Dataset, series: DicomSeries, k: int, modality: str | None) -> None:
    """Put what holds for the frame of slice `k` into `out`, the carried top level of its file.

    Position, spacing, rescale and identifiers, which the result has its own of, are the caller's.
    """
    for keyword, attributes in _GROUPS.items():
        group = _group(series, k, keyword)
        for pair in attributes.split():
            classic, _, theirs = pair.partition("=")
            _move(group, theirs or classic, out, classic)
    for keyword in _CONVERTED:
        group = _group(series, k, keyword)
        for tag in group.keys():  # noqa: SIM118 - iterating a Dataset itself would decode every element
            if tag not in out:
                out[tag] = group.get_item(tag)
    if out.get("Laterality") not in ("R", "L"):
        # Unpaired and both, which a classic series does not know.
        out.pop(Tag("Laterality"), None)
    if modality == "MR":
        _name_pulse_sequence(out)
    for keyword in _TYPE_2.get(modality or "", ()):
        if keyword not in out:
            setattr(out, keyword, None)
    moment = str(out.get("AcquisitionDateTime") or "")
    if moment[:14].isdigit() and len(moment) >= 14:
        out.AcquisitionDate = moment[:8]
        out.AcquisitionTime = moment[8:].partition("+")[0].partition("-")[0]


def _group(series: DicomSeries, k: int, keyword: str) -> Dataset:
    group = series.frame_group(k, keyword)
    return Dataset() if group is None else carry(group, keep_private=False).dataset


def _move(group: Dataset, theirs: str, out: Dataset, classic: str) -> None:
    """Take over one attribute in the VR classic images have it in; a list of doubles gives its first."""
    tag = Tag(theirs)
    if tag not in group:
        return
    element: Any = group.get_item(tag)
    vr = dictionary_VR(Tag(classic))
    if isinstance(element, RawDataElement) and vr == element.VR:
        out[Tag(classic)] = element._replace(tag=Tag(classic))
        return
    value = group[tag].value
    if vr in ("DS", "IS") and vr != group[tag].VR:
        numbers = [value] if isinstance(value, int | float) else list(value or ())
        value = (ds(float(numbers[0])) if vr == "DS" else round(numbers[0])) if numbers else None
    out[Tag(classic)] = DataElement(Tag(classic), vr, value)


def _name_pulse_sequence(out: Dataset) -> None:
    """What classic MR requires (C.8.3.1.1.2 to .4), from the Enhanced MR pulse sequence module (C.8.13.4)."""
    kinds = {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}.get(
        str(out.get("EchoPulseSequence")), []
    )
    kinds += ["IR"] if out.get("InversionRecovery") == "YES" else []
    kinds += ["EP"] if out.get("EchoPlanarPulseSequence") == "YES" else []
    variants = ["SP"] if out.get("Spoiling", "NONE") not in ("NONE", "") else []
    variants += ["SS"] if out.get("SteadyStatePulseSequence", "NONE") not in ("NONE", "") else []
    if "ScanningSequence" not in out:
        out.ScanningSequence = kinds or ["RM"]
    if "SequenceVariant" not in out:
        out.SequenceVariant = variants or "NONE"
    if "SequenceName" not in out and out.get("PulseSequenceName"):
        out.SequenceName = str(out.PulseSequenceName)[:16]
    if out.get("InPlanePhaseEncodingDirection") == "COLUMN":
        out.InPlanePhaseEncodingDirection = "COL"
