"""DICOM: finding series among files, reading them as volumes."""

from .group import Discovery, FoundSeries, discover, open_single, open_slices
from .header import is_dicom
from .series import DicomSeries, Instance

__all__ = [
    "DicomSeries",
    "Discovery",
    "FoundSeries",
    "Instance",
    "discover",
    "is_dicom",
    "open_single",
    "open_slices",
]
