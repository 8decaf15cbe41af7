"""The formats by name and by suffix, and the one rule for where a result goes."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from ..errors import UsageError

READ_BY_SUFFIX = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
    ".npy": "npy",
    ".png": "png",
}
WRITTEN_BY_SUFFIX = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".mha": "metaimage",
    ".npy": "npy",
    ".png": "png",
    ".dcm": "dicom",
}
SUFFIX = {
    "nifti": ".nii.gz",
    "nrrd": ".nrrd",
    "metaimage": ".mha",
    "npy": ".npy",
    "png": ".png",
    "dicom": ".dcm",
}
"""What a file of each format is called unless the name says otherwise."""
_CLASSIC = "dicom-classic"
OTHERS = (".bmp", ".dicom", ".gif", ".jp2", ".jpeg", ".jpg", ".pdf", ".tif", ".tiff", ".webp")
"""What a user may take for a format of results; hardly the end of a folder's name."""
ALIASES = {suffix[1:]: (name, suffix) for suffix, name in WRITTEN_BY_SUFFIX.items()}
LABELS = {
    "nifti": "NIfTI",
    "nrrd": "NRRD",
    "metaimage": "MetaImage",
    "npy": "npy",
    "png": "PNG",
    "dicom": "DICOM",
}


def suffix_of(path: Path) -> str:
    """The lower-case suffix, `.nii.gz` as one; empty where there is none."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def claimed(name: str) -> str:
    """The suffix of a file's name that says its format, else nothing: any other part may be a patient's name."""
    return next((suffix for suffix in WRITTEN_BY_SUFFIX if name.lower().endswith(suffix)), "")


def is_classic(wanted: str | None) -> bool:
    """Whether the format asked for is DICOM as single-frame images, also of an Enhanced source."""
    return wanted is not None and wanted.lower().lstrip(".") == _CLASSIC


def named(text: str) -> tuple[str, str]:
    """A format's name and the suffix to write, from what a user calls it: a name above or a suffix without dot.

    Raises:
        UsageError: code `format`.
    """
    key = "dicom" if is_classic(text) else text.lower().lstrip(".")
    if key in SUFFIX:
        return key, SUFFIX[key]
    if key in ALIASES:
        return ALIASES[key]
    known = ", ".join((*SUFFIX, _CLASSIC, "nii", "mha"))
    raise UsageError("format", f"The format must be one of {known}; found {text[:20]!r}.")


def chosen(path: Path, source_format: str, wanted: str | None) -> tuple[str, str, bool]:
    """Format, suffix, and whether `path` names the file itself (else a folder).

    Args:
        path: where the result goes.
        source_format: the format of the source, used where neither `path` nor `wanted` says.
        wanted: the format asked for by name, or None.

    Raises:
        UsageError: code `format`, the two contradict each other, or the name ends like a picture of another format.
    """
    suffix = suffix_of(path)
    if suffix in OTHERS and not path.is_dir():
        raise UsageError(
            "format",
            f"A result is not written as {suffix}.",
            f"Name a folder, or a file that ends in one of {', '.join(WRITTEN_BY_SUFFIX)}.",
        )
    by_name = WRITTEN_BY_SUFFIX.get(suffix)
    if by_name is None:
        return *named(wanted or source_format), False
    if wanted is not None and named(wanted)[0] != by_name:
        raise UsageError("format", f"The name ends in {suffix}, the format asked for is {wanted[:20]}.")
    return by_name, suffix, True


def module(format: str) -> ModuleType:
    """The module that reads and writes `format`; nothing else is imported."""
    return importlib.import_module(f"{__package__}.{format}")
